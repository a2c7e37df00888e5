"""Spooled events, recorded at last."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from pgaudit._db_errors import is_infrastructure, refusal, safe_summary
from pgaudit.errors import SpoolRefused
from pgaudit.recording import _spool_file, spool
from pgaudit.recording.connections.psycopg_ import PsycopgTransaction
from pgaudit.recording.spool import Spooled
from pgaudit.settings import Mode, Settings

logger = logging.getLogger("pgaudit")

BATCH: Final = 1_000
NAMED: Final = 10  # refused lines that a log line names
CLUSTER: Final = (
    "SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"
)
XACT_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many events were recorded, dropped because their change was rolled back, left for later, or set aside."""

    recorded: int
    rolled_back: int
    pending: int
    refused: int = 0


class _Line(NamedTuple):
    """A line of the file and what it holds."""

    number: int
    text: bytes
    entry: Spooled


@dataclass(slots=True)
class _Progress:
    """What has become of the lines that were read so far."""

    recorded: int = 0
    rolled_back: int = 0
    pending: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def refuse(self, number: int, text: bytes, reason: str) -> None:
        """Notes a line that cannot be recorded."""
        self.refused.append(text if text.endswith(b"\n") else text + b"\n")
        self.reasons.append(f"line {number}: {reason}")


def replay(conn: psycopg.Connection[Any], path: Path, mode: Mode = Mode.QUEUE, *, receipts: bool = False) -> Replayed:
    """Records the events of a spool file whose transactions were committed, and removes them from the file.

    An event whose transaction is still open stays for the next time. A line that is no event, or whose event the
    database refuses, goes to a file beside this one, ``*.refused``, and holds up no other; in such a file it stays. Run
    again, or killed half way and run again, it stores nothing twice: the log knows the events by their ids.

    :param conn: in autocommit, for what leaves the file has to be committed.
    :param mode: ``inline`` appends to the log at once, as ``record`` does; otherwise a worker has to.
    :param receipts: whether a receipt of each event goes into the WAL
    :raises ValueError: the connection is not in autocommit.
    :raises FileNotFoundError: there is no such file.
    :raises SpoolRefused: the file is a symbolic link.
    """
    if not conn.autocommit:
        raise ValueError("replay commits on its own: give it a connection in autocommit")
    progress, first = _Progress(), 1
    with _spool_file.open_locked(path) as file:
        outcomes = _Outcomes(conn)
        record = partial(PsycopgTransaction(conn).record, inline=mode == Mode.INLINE, receipts=receipts)
        while lines := list(islice(file, BATCH)):
            _replay_lines(conn, list(enumerate(lines, first)), record, outcomes, progress)
            first += len(lines)
        is_set_aside = path.suffix == spool.REFUSED
        if progress.refused and not is_set_aside:
            _set_aside(path, progress)
        _spool_file.replace_lines(path, progress.pending + (progress.refused if is_set_aside else []))
    replayed = Replayed(progress.recorded, progress.rolled_back, len(progress.pending), len(progress.refused))
    logger.info("replayed %s: %s", path, replayed, extra={"action": "spool_replayed"})
    return replayed


def _replay_lines(
    conn: psycopg.Connection[Any],
    lines: list[tuple[int, bytes]],
    record: Callable[[str], None],
    outcomes: "_Outcomes",
    progress: _Progress,
) -> None:
    """Records the lines whose transactions were committed, in one transaction if no event is refused."""
    committed: list[_Line] = []
    for number, text in lines:
        try:
            entry = Spooled.from_line(text)
            outcome = outcomes.of(entry)
        except ValueError as reason:
            progress.refuse(number, text, f"it is not a spooled event ({reason})")
            continue
        if outcome == "committed":
            committed.append(_Line(number, text, entry))
        elif outcome == "aborted":
            progress.rolled_back += 1
        else:
            progress.pending.append(text)
    refused = _record(conn, committed, record) if committed else []
    for line, error in refused:
        progress.refuse(line.number, line.text, refusal(error) or safe_summary(error))
    progress.recorded += len(committed) - len(refused)


def _record(
    conn: psycopg.Connection[Any], lines: Sequence[_Line], record: Callable[[str], None]
) -> list[tuple[_Line, psycopg.Error]]:
    """Records the events. Returns those that the database refuses: it halves the lines until it has found them."""
    document = json.dumps([line.entry.event for line in lines])
    try:
        with conn.transaction():
            record(document)
    except psycopg.Error as error:
        if is_infrastructure(error):
            raise
        if len(lines) == 1:
            return [(lines[0], error)]
        half = len(lines) // 2
        return _record(conn, lines[:half], record) + _record(conn, lines[half:], record)
    return []


class _Outcomes:
    """What became of the transactions that made the changes."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._cluster = self._fetch_row(CLUSTER)

    def of(self, entry: Spooled) -> str:
        """Returns the outcome of an entry's transaction: committed, aborted or in progress.

        One that this server has forgotten, or that another cluster or timeline ran, counts as committed: rather an
        event too many than one lost.

        :raises ValueError: its id is none.
        """
        if entry.origin is None or (entry.origin.cluster, entry.origin.timeline) != self._cluster:
            return "committed"
        try:
            (status,) = self._fetch_row(XACT_STATUS, entry.origin.xid)
        except psycopg.errors.InvalidParameterValue:
            return "committed"  # the server was restored to a time before that transaction
        except psycopg.DataError as error:
            raise ValueError("its xid is not a number") from error
        return str(status or "committed")

    def _fetch_row(self, query: Any, *parameters: str) -> tuple[Any, ...]:
        with psycopg.Cursor(self._conn, row_factory=tuple_row) as cursor:
            return cursor.execute(query, parameters).fetchone() or (None,)


def _set_aside(path: Path, progress: _Progress) -> None:
    """Moves the lines that cannot be recorded to the file beside, and says which they were, without their content."""
    refused = spool.set_aside(path, progress.refused)
    named = "; ".join(progress.reasons[:NAMED]) + ("; …" if len(progress.reasons) > NAMED else "")
    extra = {"action": "spool_lines_refused"}
    logger.error(
        "%d line(s) of %s cannot be recorded and are in %s now: %s",
        len(progress.refused),
        path,
        refused,
        named,
        extra=extra,
    )


def replay_all(conninfo: str, settings: Settings) -> None:
    """Replays every file of the spool that it can, and removes the empty ones.

    :raises SpoolRefused: another user could have put events into the directory.
    """
    if settings.spool_dir is None or not settings.spool_dir.exists():
        return
    _spool_file.check_directory(settings.spool_dir)
    files = spool.files(settings.spool_dir)
    if not files:
        return
    # Not prepared: behind PgBouncer, a session may hold prepared statements of other clients.
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, connect_timeout=5) as conn:
        for path in files:
            try:
                if replay(conn, path, settings.mode, receipts=settings.wal_receipts).pending == 0:
                    spool.remove_if_empty(path)
            except FileNotFoundError:
                continue  # another worker of this machine has been faster
            except (SpoolRefused, OSError) as error:
                logger.warning("cannot replay %s: %s", path, error)  # the others need not wait for it
