"""The replication slot of an archive: the primary keeps WAL for it, until its disk is full or a limit is reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row

from pgaudit._driver import fetch
from pgaudit.archive.findings import Finding, in_units

MUCH: Final = 1_000_000_000  # bytes of WAL
LIMIT: Final = """
    SELECT nullif(setting::bigint, -1) * 1048576 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'
"""
SLOT: Final = """
    SELECT slot_name::text AS name, active, wal_status, safe_wal_size AS safe,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END AS kept
      FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot on the primary.

    :ivar wal_status: ``reserved``, ``extended``, ``unreserved`` or ``lost``.
    :ivar safe: the bytes that can still be written before it is lost; None without a limit.
    :ivar kept: the bytes of WAL that are kept for it.
    """

    name: str
    active: bool
    wal_status: str | None
    safe: int | None
    kept: int | None


def limit_of_wal(primary: psycopg.Connection[Any]) -> int | None:
    """Returns how many bytes of WAL the primary keeps for a slot at most; None without a limit."""
    limit: int | None
    (limit,) = fetch(primary, scalar_row, LIMIT)
    return limit


def slot_of(primary: psycopg.Connection[Any], name: str) -> Slot | None:
    """Returns the slot of that name, if there is one."""
    return next(iter(fetch(primary, class_row(Slot), SLOT, [name])), None)


def slot_findings(slot: Slot | None, limit: int | None, name: str) -> Iterator[Finding]:
    """Yields what is wrong with a slot."""
    if slot is None:
        yield Finding("no_slot", f"the primary has no replication slot {name}", "run `pgaudit archive setup`")
        return
    if slot.wal_status == "lost":
        again = (
            f"on the archive, DROP SUBSCRIPTION {name}; then set up an archive in an empty database, and keep this one"
        )
        yield Finding("slot_lost", f"the primary has removed WAL that the slot {name} still needed", again)
        return
    kept = slot.kept or 0
    if not slot.active:
        end = "the primary's disk fills" if slot.safe is None else f"the slot is lost after {in_units(slot.safe)} more"
        message = f"nothing reads from the slot {name}: {in_units(kept)} of WAL are kept for it, and {end}"
        drop = f"SELECT pg_drop_replication_slot('{name}')"
        yield Finding("slot_inactive", message, f"start the archive, or give it up: on the primary, {drop}")
    if kept > min(MUCH, (limit or MUCH * 2) / 2):
        message = f"{in_units(kept)} of WAL are kept for the slot {name}"
        yield Finding("slot_behind", message, "look at the archive's log, its disk and its network")
    if limit is None:
        message = "the primary keeps WAL for a dead archive until its disk is full"
        size = "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB', and SELECT pg_reload_conf()"
        yield Finding("slot_unlimited", message, f"as a superuser of the primary, {size}")
