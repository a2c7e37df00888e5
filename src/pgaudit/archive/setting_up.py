"""Sets an archive up. Each step is done unless it has been done, so a setup that was interrupted is done again."""

import re
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit.archive.conninfo import parsed, without_password
from pgaudit.archive.publication import NAME, publish, require_readable
from pgaudit.archive.replication_slot import limit_of_wal
from pgaudit.archive.subscription import is_subscribed, prepare, refresh, subscribe, wait_for_copy
from pgaudit.errors import ArchiveRefused

NAMES: Final = re.compile(NAME + "(_[a-z0-9_]{1,40})?")
FIRST: Final = "SELECT least((SELECT min(first_index) FROM pgaudit.log_partitions()), size) FROM pgaudit.log_head"
PASSFILE: Final = (
    "put it into the .pgpass of the user that runs the archive's server, or name a service of its pg_service.conf"
)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was set up.

    :ivar name: of subscription and slot.
    :ivar was_there: whether the subscription was there already.
    :ivar copying: the tables of which the first copy has not ended.
    :ivar keeps: the bytes of WAL that the primary keeps for it at most; None without a limit.
    """

    name: str
    was_there: bool
    copying: list[str]
    keeps: int | None


def setup(  # noqa: PLR0913 - two databases, and all but these by name
    primary: psycopg.Connection[Any], archive: psycopg.Connection[Any], conninfo: str, source: str, *,
    name: str = NAME, wait: float = 3_600,
) -> Archive:  # fmt: skip
    """Sets an archive up, and waits until it has a copy of the log.

    :param primary: connected as the owner of the schema, in autocommit mode.
    :param archive: connected as a superuser, in autocommit mode; ``conninfo`` is where it is.
    :param source: how the archive's server connects to the primary, without a password.
    :param name: of subscription and slot; each archive needs its own.
    :param wait: the seconds to wait for the first copy at most.
    :raises ArchiveRefused: it cannot be set up like that; the message says what to do.
    """
    if not NAMES.fullmatch(name):
        raise ArchiveRefused(f"the name is {NAME}, or {NAME}_ and lower-case letters, digits and underscores")
    without_password(source, f"it would be stored in the archive's catalog: {PASSFILE}")
    require_readable(primary, str(parsed(source).get("user", "")))
    is_changed = publish(primary)
    was_there = is_subscribed(archive, name)
    if not was_there:
        prepare(archive, conninfo)
        (first,) = fetch(primary, scalar_row, FIRST)
        subscribe(archive, name, source, first)
    elif is_changed:
        refresh(archive, name)
    return Archive(name, was_there, wait_for_copy(archive, name, wait), limit_of_wal(primary))
