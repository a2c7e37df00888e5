"""Checks an archive: whether it follows, whether it is guarded, and whether both have the same events."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit._schema import fingerprint
from pgaudit._schema.state import state_of
from pgaudit.archive.comparison import Differences, compare, end_of
from pgaudit.archive.findings import Finding, numbered
from pgaudit.archive.publication import NAME, published
from pgaudit.archive.replication_slot import Slot, limit_of_wal, slot_findings, slot_of
from pgaudit.archive.subscription import copying, first_index

NEWEST: Final = 100_000
SIZE: Final = "SELECT size FROM pgaudit.log_head"
SUBSCRIPTION: Final = """
    SELECT s.subenabled, w.pid IS NOT NULL
      FROM pg_subscription s
      LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
     WHERE s.subname = %s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
DATABASE: Final = "SELECT current_database(), pg_postmaster_start_time()"
SETUP: Final = "run `pgaudit archive setup`"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    :ivar lag: the number of events that the archive has not got yet; None if it does not answer.
    :ivar limit: the bytes of WAL that the primary keeps for it at most; None without a limit.
    """

    slot: Slot | None
    limit: int | None
    size: int
    lag: int | None = None
    differences: Differences = field(default_factory=Differences)
    findings: tuple[Finding, ...] = ()


def check(primary: Connection, archive: Connection | str, *, name: str = NAME, newest: int | None = NEWEST) -> Report:
    """Compares an archive with its primary.

    :param archive: connected to it; or why it does not answer.
    :param newest: how many events are compared, from the end on; None for all of them.
    """
    slot, limit = slot_of(primary, name), limit_of_wal(primary)
    findings = [*publication_findings(primary), *slot_findings(slot, limit, name)]
    if isinstance(archive, str):
        findings.append(Finding("unreachable", f"the archive does not answer: {archive}", "start it, or check --to"))
        return Report(slot, limit, size_of(primary), findings=tuple(findings))
    if reason := no_archive(primary, archive):
        findings.append(Finding("not_an_archive", reason, f"{SETUP}, or check --to"))
        return Report(slot, limit, size_of(primary), findings=tuple(findings))
    findings += [*subscription_findings(archive, name), *schema_findings(primary, archive)]
    end = end_of(archive)
    known = size_of(archive)
    size = size_of(primary)
    first = max(first_index(archive, name), 0 if newest is None else end - newest)
    differences = compare(primary, archive, first, min(end, size))
    findings += [*contents_findings(differences), *end_findings(known, end, size)]
    return Report(slot, limit, size, max(size - end, 0), differences, tuple(findings))


def no_archive(primary: Connection, archive: Connection) -> str | None:
    """Returns why a database cannot be the archive; None if it can."""
    if fetch(primary, tuple_row, DATABASE) == fetch(archive, tuple_row, DATABASE):
        return "that database is the primary itself"
    return "that database has no schema pgaudit" if state_of(archive) is None else None


def size_of(conn: Connection) -> int:
    """Returns how many events the log has had."""
    size: int
    (size,) = fetch(conn, scalar_row, SIZE)
    return size


def publication_findings(primary: Connection) -> Iterator[Finding]:
    """Yields what is wrong with the publication."""
    state = published(primary)
    if state is None:
        yield Finding("no_publication", f"the primary has no publication {NAME}", SETUP)
    elif not state:
        yield Finding("publication_changed", f"the publication {NAME} was changed", SETUP)


def subscription_findings(archive: Connection, name: str) -> Iterator[Finding]:
    """Yields what is wrong with the subscription."""
    found = fetch(archive, tuple_row, SUBSCRIPTION, [name])
    if not found:
        yield Finding("no_subscription", f"the archive has no subscription {name}", SETUP)
        return
    ((is_enabled, is_running),) = found
    if not is_enabled:
        enable = f"on the archive, ALTER SUBSCRIPTION {name} ENABLE"
        yield Finding("subscription_disabled", f"the subscription {name} is disabled", enable)
    elif not is_running:
        message = f"the subscription {name} is not running: it does not reach the primary, or cannot apply an event"
        yield Finding("not_applying", message, "the log of the archive's server says why")
    if tables := copying(archive, name):
        yield Finding("copying", f"the first copy of {', '.join(tables)} has not ended", f"wait; then {SETUP} again")


def schema_findings(primary: Connection, archive: Connection) -> Iterator[Finding]:
    """Yields how the archive's schema differs from that of the primary, and from what it should be."""
    here, there = state_of(primary), state_of(archive)
    if here and there and (here.revision, here.checksum) != (there.revision, there.checksum):
        yield Finding(
            "other_schema", f"the primary has {here}, and the archive {there}", "run `pgaudit migrate` on both"
        )
        return
    for difference in fingerprint.differences(archive):
        yield Finding(
            "unguarded", difference, "run `pgaudit migrate --repair` on the archive, then `pgaudit archive setup`"
        )


def contents_findings(found: Differences) -> Iterator[Finding]:
    """Yields which events differ."""
    keep = "the archive has them as they were recorded: keep it, and see the page on tampering"
    if found.altered:
        yield Finding("altered", f"events of the primary are not those of the archive: {numbered(found.altered)}", keep)
    if found.deleted:
        yield Finding("deleted", f"the primary has lost events: {numbered(found.deleted)}", keep)
    if found.missing:
        lost = "look for deletions on the archive, and set up a second one"
        yield Finding("missing", f"the archive does not have the events {numbered(found.missing)}", lost)


def end_findings(known: int, end: int, size: int) -> Iterator[Finding]:
    """Yields whether the archive has an end that it cannot have."""
    if end > size:
        message = f"the archive has {end:,} events, and the primary {size:,}: it was restored from an older backup"
        yield Finding("ahead", message, "keep the archive, and set up another one in an empty database")
    elif end < known:
        message = f"the archive has known {known:,} events, and has them up to {end:,}"
        yield Finding("missing", message, "look for deletions on the archive, and set up a second one")
