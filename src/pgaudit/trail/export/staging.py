"""Events on their way into a file that cannot be continued once it is broken off, such as Parquet.

Each is a line: what the log knows of it, a tab, and its text.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from pgaudit.trail.export.rows import Row

AT_ONCE: Final = 1_000  # events


@dataclass(frozen=True, slots=True)
class StagedRow:
    """An event that was read back."""

    index: int
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    conflicts_with: int | None
    leaf_hash: bytes | None
    text: str

    @classmethod
    def of(cls, line: str) -> "StagedRow":
        """Returns the event of a line."""
        head, _, text = line.rstrip("\n").partition("\t")
        index, occurred, recorded, persisted, conflicts_with, leaf_hash = json.loads(head)
        return cls(
            index,
            datetime.fromisoformat(occurred),
            datetime.fromisoformat(recorded),
            datetime.fromisoformat(persisted),
            conflicts_with,
            None if leaf_hash is None else bytes.fromhex(leaf_hash),
            text,
        )


class StagingEncoder:
    """Writes an event in each line."""

    def begin(self) -> bytes:
        """Returns nothing: there is no header."""
        return b""

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Returns the lines of events."""
        return "".join(map(line_of, rows)).encode()

    def end(self) -> bytes:
        """Returns nothing: the last line is complete."""
        return b""


def line_of(row: Row) -> str:
    """Returns the line of an event."""
    moments = (moment.isoformat() for moment in (row.occurred_at, row.recorded_at, row.persisted_at))
    head = [row.index, *moments, row.conflicts_with, None if row.leaf_hash is None else row.leaf_hash.hex()]
    return f"{json.dumps(head)}\t{row.text}\n"


def staged(path: Path) -> Iterator[list[StagedRow]]:
    """Yields the events of a file, up to a thousand at a time."""
    with path.open(encoding="utf-8", newline="\n") as file:
        while rows := [StagedRow.of(line) for line in islice(file, AT_ONCE)]:
            yield rows
