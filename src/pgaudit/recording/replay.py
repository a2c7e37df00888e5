"""Spooled events, recorded at last."""

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from pgaudit._db_errors import is_infrastructure
from pgaudit.errors import SpoolUnreadable
from pgaudit.recording import spool
from pgaudit.recording.connections.psycopg_ import PsycopgTransaction
from pgaudit.recording.spool import Spooled
from pgaudit.settings import Mode, Settings

logger = logging.getLogger("pgaudit")

BATCH: Final = 1_000
XACT_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many events were recorded, dropped because their change was rolled back, or left for later."""

    recorded: int
    rolled_back: int
    pending: int


def replay(conn: psycopg.Connection[Any], path: Path, mode: Mode = Mode.QUEUE) -> Replayed:
    """Records the events of a spool file whose transactions were committed, and removes them from the file.

    An event whose transaction is still open stays for the next time. Run again, or killed half way and
    run again, it stores nothing twice: the log knows the events by their ids.

    :param conn: in autocommit, for what leaves the file has to be committed.
    :param mode: ``inline`` appends to the log at once, as ``record`` does; else a worker has to.
    :raises ValueError: the connection is not in autocommit.
    :raises FileNotFoundError: there is no such file.
    :raises SpoolUnreadable: a line is no spooled event; nothing was recorded.
    """
    if not conn.autocommit:
        raise ValueError("replay commits on its own: give it a connection in autocommit")
    with spool.open_locked(path) as file:
        by_outcome = _group_by_outcome(conn, spool.read(file, path))
        for start in range(0, len(by_outcome["committed"]), BATCH):
            events = [entry.event for entry in by_outcome["committed"][start : start + BATCH]]
            with conn.transaction():
                PsycopgTransaction(conn).record(json.dumps(events), inline=mode == Mode.INLINE)
        spool.replace(path, by_outcome["in progress"])
    replayed = Replayed(len(by_outcome["committed"]), len(by_outcome["aborted"]), len(by_outcome["in progress"]))
    logger.info("replayed %s: %s", path, replayed, extra={"action": "spool_replayed"})
    return replayed


def _group_by_outcome(conn: psycopg.Connection[Any], entries: list[Spooled]) -> defaultdict[str, list[Spooled]]:
    """Returns the entries by the outcome of their transaction: committed, aborted or in progress.

    One that the server has forgotten, or never knew, counts as committed: rather an event too many than one lost.
    """
    by_outcome: defaultdict[str, list[Spooled]] = defaultdict(list)
    for entry in entries:
        by_outcome[_transaction_outcome(conn, entry.xid)].append(entry)
    return by_outcome


def _transaction_outcome(conn: psycopg.Connection[Any], xid: str | None) -> str:
    """Returns the outcome of a transaction: committed, aborted or in progress."""
    if xid is None:
        return "committed"
    try:
        with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
            (status,) = cursor.execute(XACT_STATUS, [xid]).fetchone() or (None,)
    except psycopg.errors.InvalidParameterValue:
        return "committed"  # the server was restored to a time before that transaction
    return status or "committed"


def replay_all(conninfo: str, settings: Settings) -> None:
    """Replays every file of the spool that it can, and removes the empty ones."""
    files = spool.files(settings.spool_dir)
    if not files:
        return
    # Not prepared: behind PgBouncer, a session may hold prepared statements of other clients.
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, connect_timeout=5) as conn:
        for path in files:
            try:
                if replay(conn, path, settings.mode).pending == 0:
                    spool.remove_if_empty(path)
            except FileNotFoundError:
                continue  # another worker of this machine has been faster
            except (SpoolUnreadable, psycopg.Error, OSError) as error:
                if isinstance(error, psycopg.Error) and is_infrastructure(error):
                    raise
                logger.warning("cannot replay %s: %s", path, error)  # the others need not wait for it
