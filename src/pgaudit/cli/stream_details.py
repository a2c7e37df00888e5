"""A stream as `pgaudit stream` prints it: a line of the list, or all its details."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from rich.text import Text

from pgaudit.cli.output import cell
from pgaudit.streams import Stream

INDENT: Final = 14


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream in a list."""

    name: str
    state: str
    to: str
    next_index: int
    lag_events: int
    lag_seconds: float
    parked: int
    problem: str | None

    @classmethod
    def of(cls, stream: Stream) -> Self:
        """The line of a stream."""
        to = (stream.url or "").partition("?")[0]
        return cls(
            stream.name, stream.state, to, stream.next_index, stream.lag_events, stream.lag_seconds, stream.parked,
            problem_of(stream),
        )  # fmt: skip


def facts(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Yields what there is to say of a stream, each with its title."""
    yield "name", stream.name
    yield "state", stream.state
    yield "problem", problem_of(stream)
    yield "to", stream.url
    yield "match", stream.query or "every event"
    yield "form", stream.form + (", in order of each target" if stream.ordered else "")
    yield "next index", stream.next_index
    yield "behind", f"{stream.lag_events:,} events, {stream.lag_seconds:,.0f} s"
    yield "delivered", f"{stream.delivered:,} events, {stream.events_per_second:,.1f}/s in the last 5 minutes"
    yield "last", stream.delivered_at
    yield "failures", f"{stream.failures_last_day:,} in the last day"
    yield "parked", stream.parked
    yield "replay", replay_of(stream)
    yield "added", Text(f"by {stream.added_by} at {cell(stream.added_at)}").plain


def problem_of(stream: Stream) -> str | None:
    """Returns why a stream is paused or failing; None while it is neither."""
    if stream.state == "paused":
        who = stream.paused_by if stream.pause_kind == "asked" else "a worker"
        return f"paused by {who} ({stream.pause_kind}): {stream.pause_reason or 'no reason given'}"
    return stream.error


def replay_of(stream: Stream) -> str | None:
    """Returns how far a replay is; None without one."""
    if stream.replay_from is None:
        return None
    error = f"; {stream.replay_error}" if stream.replay_error else ""
    return f"{stream.replay_from} to {stream.replay_to}, next {stream.replay_next}{error}"
