"""What log and queue can prove without the WAL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, LiteralString

import psycopg
from psycopg.rows import tuple_row

CHUNK: Final = 20_000  # rows of the log that a statement reads; of jobs it reads as many
LISTED: Final = 1_000  # findings that a report has one by one
SIZE: Final = "SELECT size FROM pgaudit.log_head"
LAST_JOB: Final = "SELECT coalesce(max(id), 0) FROM pgaudit.audit_jobs"
JOBS: Final = """
    SELECT id, leaf_hash = pgaudit.leaf_hash(event), event->>'xid' FROM pgaudit.audit_jobs
     WHERE id > %s AND id <= %s ORDER BY id LIMIT 20000
"""
EVENTS: Final = """
    SELECT min(index), count(*), event->>'xid' FROM pgaudit.audit_log WHERE index >= %s AND index < %s GROUP BY 3
"""
# NULL for a transaction that the server has forgotten. One that it has not begun is another server's.
OUTCOMES: Final = """
    SELECT xid, CASE WHEN xid !~ '^[0-9]{1,19}$' THEN 'foreign'
                     WHEN xid::xid8 >= pg_snapshot_xmax(pg_current_snapshot()) THEN 'foreign'
                     ELSE pg_xact_status(xid::xid8) END
      FROM unnest(%s::text[]) xid
"""
Show = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An event or job that contradicts what the server knows."""

    kind: Literal["altered", "uncommitted"]
    place: str
    message: str


@dataclass(slots=True)
class Inspected:
    """What was examined, and what contradicts itself."""

    jobs: int = 0
    events: int = 0
    committed: int = 0  # jobs and events whose transaction was committed, as the server knows
    forgotten: int = 0  # whose transaction is too old for that
    foreign: int = 0  # whose transaction this server has not begun
    found: int = 0
    findings: list[Doubt] = field(default_factory=list[Doubt])  # at most a thousand

    def doubt(self, finding: Doubt) -> None:
        """Adds a finding."""
        self.found += 1
        if len(self.findings) < LISTED:
            self.findings.append(finding)


def inspect(conn: psycopg.Connection[Any], show: Show = lambda _done, _of: None) -> Inspected:
    """Checks the hash of each queued job, and that the transactions of all jobs and events were committed.

    :param conn: of a reader, in autocommit
    :param show: is called with the number of the job or event that was reached, and of the last one
    """
    report = Inspected()
    _inspect_queue(conn, report, show)
    _inspect_log(conn, report, show)
    return report


def _inspect_queue(conn: psycopg.Connection[Any], report: Inspected, show: Show) -> None:
    """Checks hash and transaction of each job. From one job to the next: the ids of the queue have wide gaps."""
    ((last,),) = _rows(conn, LAST_JOB)
    after = 0
    while jobs := _rows(conn, JOBS, after, last):
        after = jobs[-1][0]
        show(after, last)
        report.jobs += len(jobs)
        for job, is_intact, _xid in jobs:
            if not is_intact:
                report.doubt(Doubt("altered", f"job {job}", "its event is not the one that its leaf hash says"))
        _check_outcomes(conn, report, [(f"job {job}", 1, xid) for job, _, xid in jobs])


def _inspect_log(conn: psycopg.Connection[Any], report: Inspected, show: Show) -> None:
    """Checks the transactions of the events in the log."""
    ((size,),) = _rows(conn, SIZE)
    for first in range(0, size, CHUNK):
        show(first, size)
        groups = _rows(conn, EVENTS, first, first + CHUNK)
        report.events += sum(count for _, count, _ in groups)
        _check_outcomes(conn, report, [(f"event {index}", count, xid) for index, count, xid in groups])


def _check_outcomes(
    conn: psycopg.Connection[Any], report: Inspected, groups: list[tuple[str, int, str | None]]
) -> None:
    """Counts the events of each transaction by its outcome."""
    outcomes = dict(_rows(conn, OUTCOMES, list({xid for _, _, xid in groups if xid})))
    for place, count, xid in groups:
        match outcomes.get(xid, "foreign"):
            case "committed":
                report.committed += count
            case None:
                report.forgotten += count
            case "foreign":
                report.foreign += count
            case outcome:
                report.doubt(Doubt("uncommitted", place, f"its transaction {xid} is {outcome}, and so never made it"))


def _rows(conn: psycopg.Connection[Any], query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
