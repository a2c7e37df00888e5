"""Reading the log: the trail of a target or an actor, and what comes in."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from pgaudit import _log_pages as log_pages
from pgaudit._driver import fetch, reading
from pgaudit._log_pages import Filter

__all__ = ["Entry", "Filter", "after", "last", "of_actor", "of_target", "pages"]

COLUMNS: Final = """
    SELECT index, event_id, occurred_at, recorded_at, persisted_at, action, outcome, actor_type, actor_id,
           target_type, target_id, tenant, event
      FROM pgaudit.audit_log
"""
LAST: Final = COLUMNS + " ORDER BY index DESC LIMIT %(count)s"
AFTER: Final = COLUMNS + " WHERE index > %(index)s ORDER BY index LIMIT %(limit)s"
# Given as values, the indexes name the partitions that have to be read.
BY_INDEX: Final = COLUMNS + " WHERE index = ANY(%(indexes)s) ORDER BY index"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the log; ``event`` is all of it."""

    index: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    action: str
    outcome: str
    actor_type: str | None
    actor_id: str | None
    target_type: str | None
    target_id: str | None
    tenant: str | None
    event: dict[str, Any]

    @property
    def actor(self) -> str | None:
        """The actor as "type:id"."""
        return self.actor_type and f"{self.actor_type}:{self.actor_id}"

    @property
    def target(self) -> str | None:
        """The first target as "type:id"."""
        return self.target_type and f"{self.target_type}:{self.target_id}"


def last(conn: object, count: int) -> list[Entry]:
    """Returns the newest entries, the oldest of them first."""
    return fetch(reading(conn), class_row(Entry), LAST, {"count": count})[::-1]


def after(conn: object, index: int, limit: int = 1_000) -> list[Entry]:
    """Returns the entries after that index, at most ``limit``. Index order is commit order: no entry is missed.

    :param index: the last index seen; -1 for the beginning of the log.
    """
    return fetch(reading(conn), class_row(Entry), AFTER, {"index": index, "limit": limit})


def of_target(conn: object, kind: str, identity: str | int, limit: int | None = None) -> list[Entry]:
    """Returns the events that have this target, such as ("claim", "7"), first or further, in the order of the log.

    :param identity: its id; a number stands for its digits.
    :param limit: the most entries to return; the newest are kept.
    """
    return _matching(conn, Filter(target=(kind, str(identity))), limit)


def of_actor(conn: object, kind: str, identity: str | int, limit: int | None = None) -> list[Entry]:
    """Returns the events of an actor, such as ("user", "42"), in the order of the log.

    :param identity: their id; a number stands for its digits.
    :param limit: the most entries to return; the newest are kept.
    """
    return _matching(conn, Filter(actor=(kind, str(identity))), limit)


def pages(conn: object, wanted: Filter, span: range | None = None, newest: int | None = None) -> Iterator[list[Entry]]:
    """Yields the entries that a filter selects, in the order of the log, at most a thousand at a time.

    :param span: only entries with an index in this range; all of the log by default.
    :param newest: the most entries to yield; the newest are kept.
    """
    driver, span = reading(conn), log_pages.ALL if span is None else span
    for indexes in log_pages.index_pages(driver, wanted, span, newest):
        yield fetch(driver, class_row(Entry), BY_INDEX, {"indexes": indexes})


def _matching(conn: object, wanted: Filter, limit: int | None) -> list[Entry]:
    """Returns the entries that a filter selects."""
    return [entry for page in pages(conn, wanted, newest=limit) for entry in page]
