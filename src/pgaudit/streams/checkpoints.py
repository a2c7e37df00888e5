"""Reads the signed checkpoints that cover what a stream sends."""

from dataclasses import dataclass
from typing import Final

from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.streams.positions import Connection

NEWEST: Final = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
COVERING: Final = "SELECT size, note FROM pgaudit.checkpoint WHERE size >= %(size)s ORDER BY size LIMIT 1"


@dataclass(frozen=True, slots=True)
class StoredCheckpoints:
    """The checkpoints of the log in the database."""

    conn: Connection

    def size(self) -> int:
        """Returns how many events the newest one covers; 0 if the log is not signed."""
        (size,) = fetch(self.conn, scalar_row, NEWEST)
        return int(size)

    def covering(self, size: int) -> tuple[int, str] | None:
        """Returns size and note of the smallest one that covers that many events; None if there is none yet."""
        return next(iter(fetch(self.conn, tuple_row, COVERING, {"size": size})), None)
