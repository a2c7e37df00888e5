"""The numbers of a daily report: events counted by action, actor and outcome."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol, runtime_checkable

from pgaudit.streams.outcomes import Receipt


@dataclass(frozen=True, slots=True)
class Day:
    """A day in a time zone: from ``start`` to before ``end``; ``due`` is when its report is sent."""

    date: date
    zone: str
    start: datetime
    end: datetime
    due: datetime


@dataclass(frozen=True, slots=True)
class Count:
    """How many events of one action, outcome and actor there were, and where in the log the first and last one are."""

    action: str
    outcome: str
    actor: str | None
    events: int
    first_index: int
    last_index: int


@dataclass(frozen=True, slots=True)
class Group:
    """How many events there were of one action or actor, and how many of them were denied or have failed."""

    name: str | None
    events: int
    denied: int
    failure: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a report says.

    :ivar indexes: the part of the log that was counted.
    :ivar late: how many events had occurred before the day, and came into the log on it.
    :ivar counts: the most frequent ones; ``kinds`` is how many there are.
    :ivar actions: the most frequent ones of ``action_count``; ``actors`` those of ``actor_count``.
    """

    stream: str
    query: str
    day: Day
    indexes: range
    events: int
    late: int
    outcomes: dict[str, int]
    counts: list[Count]
    kinds: int
    actions: list[Group]
    action_count: int
    actors: list[Group]
    actor_count: int

    @property
    def counted(self) -> int:
        """The number of events in ``counts``."""
        return sum(count.events for count in self.counts)


@runtime_checkable
class Reporter(Protocol):
    """A destination that gets the counts of a day instead of events."""

    def day_of(self, moment: datetime) -> Day:
        """Returns the day of a moment."""
        ...

    def is_waiting(self, log_size: int, now: datetime) -> bool:
        """Returns whether the next report is not due yet."""
        ...

    def wait(self, until: datetime) -> None:
        """Waits until a moment: the log is not read before."""
        ...

    def report(self, summary: Summary) -> Receipt:
        """Sends a report. Raises what ``Destination.send`` raises."""
        ...


def as_json(summary: Summary) -> dict[str, Any]:
    """Returns the numbers of a report for programs."""
    return {
        "stream": summary.stream,
        "query": summary.query,
        "day": summary.day.date.isoformat(),
        "zone": summary.day.zone,
        "first_index": summary.indexes.start,
        "last_index": summary.indexes.stop - 1,
        "events": summary.events,
        "late": summary.late,
        "outcomes": summary.outcomes,
        "actions": [group_as_json("action", group) for group in summary.actions],
        "action_count": summary.action_count,
        "actors": [group_as_json("actor", group) for group in summary.actors],
        "actor_count": summary.actor_count,
    }


def group_as_json(name: str, group: Group) -> dict[str, Any]:
    """Returns the numbers of an action or actor."""
    return {name: group.name, "events": group.events, "denied": group.denied, "failure": group.failure}
