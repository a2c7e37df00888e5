"""The receipts of the WAL, compared with log and queue."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import tuple_row

from pgaudit.errors import WalUnreadable
from pgaudit.sealing.reconcile import waldump
from pgaudit.sealing.reconcile.filter import Filter
from pgaudit.sealing.reconcile.lookups import Lookup
from pgaudit.sealing.reconcile.receipts import Reader, Receipt
from pgaudit.sealing.reconcile.records import records
from pgaudit.sealing.reconcile.segments import Segment, Stretch, as_text, lsn, position, segments_in, stretches

Kind = Literal["lost", "altered", "unreceipted", "gap"]
MARGIN: Final = timedelta(seconds=1)
BATCH: Final = 50_000  # receipts that are compared at a time
LISTED: Final = 1_000  # findings of a kind that a report has one by one
SERVER: Final = """
    SELECT system_identifier::text, current_setting('server_version_num')::integer / 10000,
           (SELECT oid FROM pg_database WHERE datname = current_database()),
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END::text
      FROM pg_control_system()
"""
SHOWN: Final = 1_000  # records between two calls that show the progress
Show = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """A committed event that is in neither log nor queue, or was altered; an event that was not; a gap in the WAL."""

    kind: Kind
    message: str
    lsn: str | None = None
    xid: int | None = None
    committed_at: datetime | None = None
    leaf_hash: str | None = None


@dataclass(slots=True)
class Reconciled:
    """What came of it. ``start`` and ``end`` are where the WAL that was read begins and ends."""

    timeline: int
    start: str
    end: str
    first_commit: datetime | None
    first_receipt: datetime | None
    last_receipt: datetime | None
    log_begins: datetime | None  # when the first event of the log was recorded
    unread_bytes: int | None  # of WAL that the server has written behind the end; None on a standby
    receipts: int  # of committed events
    in_log: int
    in_queue: int
    acknowledged: int
    sighted: int
    rolled_back: int
    unfinished: int
    of_other_databases: dict[int, int]
    lost: int = 0
    altered: int = 0
    unreceipted: int | None = None  # events of the log without a receipt, if they were looked for
    gaps: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])  # at most a thousand of a kind

    @property
    def is_reconciled(self) -> bool:
        """Whether there were receipts, and nothing was found."""
        return self.receipts > 0 and not (self.lost or self.altered or self.unreceipted or self.gaps)


@dataclass(frozen=True, slots=True)
class _Server:
    """The server whose database is compared."""

    system: str
    version: int
    database: int
    replayed: int | None  # on a standby: up to where it knows the WAL
    written: int | None

    @classmethod
    def of(cls, conn: psycopg.Connection[Any]) -> "_Server":
        with conn.cursor(row_factory=tuple_row) as cursor:
            ((system, version, database, replayed, written),) = cursor.execute(SERVER).fetchall()
        return cls(system, version, int(database), replayed and lsn(replayed), written and lsn(written))


def reconcile(  # noqa: PLR0913 - by name
    conn: psycopg.Connection[Any],
    directory: Path,
    *,
    start: str | None = None,
    end: str | None = None,
    timeline: int | None = None,
    program: Path | None = None,
    every: bool = False,
    show: Show = lambda _done, _of: None,
) -> Reconciled:
    """Compares the receipts in a directory of WAL files with the log and the queue.

    :param conn: of a reader, in autocommit, so that each statement sees what was committed before it
    :param start: LSN or name of a file; the first file of the directory otherwise
    :param end: LSN or name of a file
    :param timeline: the newest one of the directory otherwise
    :param program: ``pg_waldump``, if it has to be named
    :param every: name each event of the log that was recorded between the first and the last receipt without one
    :param show: is called with the bytes of WAL that were read, and how many there are
    :raises WalUnreadable: the WAL cannot be read, or is of another server.
    """
    server = _Server.of(conn)
    segments = segments_in(directory, timeline)
    if segments[0].system != server.system:
        raise WalUnreadable(
            f"the WAL in {directory} is of the server {segments[0].system}, and the database is on {server.system}"
        )
    parts = _parts(segments, start, end, server)
    reader, lookup = Reader(server.database, Filter() if every else None), Lookup(conn)
    reading = _Reading(waldump.find(server.version, program), parts, show)
    lost = _missing(lookup, reader.receipts(reading.records()))
    report = _report(reading, reader, lookup, server)
    report.lost, report.altered, report.gaps = len(lost), len(lookup.altered), len(parts) - 1
    report.findings = [*_gaps(parts), *_lost(lost[:LISTED]), *_altered(lookup.altered[:LISTED])]
    _add_unreceipted(report, lookup, reader)
    return report


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the WAL, and what is read of it."""

    stretch: Stretch
    start: int
    end: int


def _parts(segments: list[Segment], start: str | None, end: str | None, server: _Server) -> list[_Part]:
    """Returns what is to be read: several parts if files are missing between them.

    :raises WalUnreadable: nothing is between start and end.
    """
    begin = position(start, segments) if start else segments[0].start
    stop = position(end, segments, is_end=True) if end else segments[-1].end
    if server.replayed is not None:
        stop = min(stop, server.replayed)  # a standby does not know yet what comes behind
    found = [_Part(each, max(begin, each.start), min(stop, each.end)) for each in stretches(segments, begin, stop)]
    if not found:
        raise WalUnreadable(f"there is no WAL from {as_text(begin)} to {as_text(stop)} in the directory")
    return found


class _Reading:
    """Reads the parts one after the other, and knows where the last one ended."""

    def __init__(self, program: Path, parts: Sequence[_Part], show: Show) -> None:
        self._program, self.parts, self._show = program, parts, show
        self.end = parts[0].start

    def records(self) -> Iterator[Any]:
        """Yields the records of all parts."""
        first, last = self.parts[0].start, self.parts[-1].end
        for part in self.parts:
            dump = waldump.Dump(self._program, part.stretch, part.start, part.end)
            for number, record in enumerate(records(dump.lines())):
                if number % SHOWN == 0:
                    self._show(record.lsn - first, last - first)
                yield record
            self.end = dump.end


def _missing(lookup: Lookup, receipts: Iterator[Receipt]) -> list[Receipt]:
    """Returns the receipts whose events are nowhere. Those that are not near their time are looked for once more.

    The second look comes later than the WAL was read: so it sees each transaction that the WAL ended.
    """
    missing: list[Receipt] = []
    doubtful: list[Receipt] = []
    while batch := list(islice(receipts, BATCH)):
        doubtful += lookup.without_found(batch, near=True)
        if len(doubtful) >= BATCH:
            missing += lookup.without_found(doubtful, near=False)
            doubtful = []
    return missing + lookup.without_found(doubtful, near=False)


def _report(reading: _Reading, reader: Reader, lookup: Lookup, server: _Server) -> Reconciled:
    """Returns what was read and found, without the findings."""
    return Reconciled(
        timeline=reading.parts[0].stretch.segments[0].timeline,
        start=as_text(reading.parts[0].start),
        end=as_text(reading.end),
        first_commit=reader.first_commit,
        first_receipt=reader.first_receipt,
        last_receipt=reader.last_receipt,
        log_begins=lookup.log_begins(),
        unread_bytes=None if server.written is None else max(0, server.written - reading.end),
        receipts=reader.committed,
        in_log=lookup.found["log"],
        in_queue=lookup.found["queue"],
        acknowledged=lookup.found["acknowledged"],
        sighted=lookup.found["sighted"],
        rolled_back=reader.rolled_back,
        unfinished=reader.unfinished,
        of_other_databases=dict(reader.elsewhere),
    )


def _lost(receipts: Iterable[Receipt]) -> Iterator[Finding]:
    for each in receipts:
        yield _finding("lost", each, "a committed event is in neither the log nor the queue")


def _altered(receipts: Iterable[Receipt]) -> Iterator[Finding]:
    for each in receipts:
        yield _finding("altered", each, "a job has the leaf hash of a committed event, and another event")


def _finding(kind: Kind, receipt: Receipt, message: str) -> Finding:
    place = as_text(receipt.lsn)
    return Finding(kind, message, place, receipt.xid, receipt.committed_at, receipt.leaf_hash.hex())


def _add_unreceipted(report: Reconciled, lookup: Lookup, reader: Reader) -> None:
    """Adds the events of the log that have no receipt, if they are wanted."""
    if reader.seen is None or reader.first_receipt is None or reader.last_receipt is None:
        return
    report.unreceipted = 0
    # An event of the last moment may have been recorded before the WAL ended, and its receipt written behind it.
    for index, leaf_hash in lookup.without_receipt(reader.seen, reader.first_receipt, reader.last_receipt - MARGIN):
        report.unreceipted += 1
        if report.unreceipted <= LISTED:
            message = f"event {index} of the log was recorded in that time, and has no receipt"
            report.findings.append(Finding("unreceipted", message, leaf_hash=leaf_hash.hex()))


def _gaps(parts: Sequence[_Part]) -> Iterator[Finding]:
    for before, after in pairwise(parts):
        segment = before.stretch.segments[-1]
        first, last = segment.name_at(before.end), segment.name_at(after.start - 1)
        files = f"the file {first} is" if first == last else f"the files {first} to {last} are"
        yield Finding("gap", f"{files} missing: restore them, and reconcile again", as_text(before.end))
