"""The check that streams send what is in the log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit.health.status import Check, Status
from pgaudit.settings import Settings

SHOWN: Final = 3  # problems in one message
REPORT_SECONDS: Final = 172_800.0  # a day, and the longest time until the report of that day is due
STATES: Final = """
    SELECT name, pause_kind, coalesce(pause_reason, error) AS reason,
           coalesce(extract(epoch FROM clock_timestamp() - failing_since), 0)::double precision AS failing_seconds,
           lag_seconds, parked, coalesce(starts_with(url, 'report+'), false) AS is_report
      FROM pgaudit.stream_stats WHERE kind = 'destination' ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class StreamState:
    """How a stream does.

    :ivar pause_kind: why it is paused: ``asked``, ``refused``, ``failing`` or ``mismatch``; None while it is not.
    :ivar reason: of the pause, or of the last failure.
    :ivar lag_seconds: the age of the oldest event that it has not got to.
    :ivar is_report: whether it sends reports of days, and no events.
    """

    name: str
    pause_kind: str | None
    reason: str | None
    failing_seconds: float
    lag_seconds: float
    parked: int
    is_report: bool = False

    @property
    def overdue_seconds(self) -> float:
        """The lag that counts: a report waits for the end of its day, and then for its time of day."""
        return max(self.lag_seconds - (REPORT_SECONDS if self.is_report else 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class StreamProblem:
    """What is wrong with a stream, and the command that shows more or corrects it."""

    status: Status
    sentence: str
    remedy: str


def states(conn: psycopg.Connection[Any]) -> list[StreamState]:
    """Returns how each stream to a destination does."""
    return psycopg.Cursor(conn, row_factory=class_row(StreamState)).execute(STATES).fetchall()


def problems(found: Sequence[StreamState], settings: Settings) -> list[StreamProblem]:
    """Returns what is wrong with streams, the worst first."""
    named = [problem for stream in found for problem in problems_of(stream, settings)]
    return sorted(named, key=lambda problem: problem.status is not Status.UNHEALTHY)


def problems_of(stream: StreamState, settings: Settings) -> Iterator[StreamProblem]:
    """Yields what is wrong with one stream. That someone has paused it is no problem until its lag is one."""
    name, limit = stream.name, settings.health_max_stream_lag
    if stream.pause_kind not in {None, "asked"}:
        sentence = f"{name} is paused ({stream.pause_kind}): {stream.reason}"
        yield StreamProblem(Status.UNHEALTHY, sentence, f"correct it, then run `pgaudit stream resume {name}`")
    elif stream.overdue_seconds > limit / 2:
        status = Status.UNHEALTHY if stream.overdue_seconds > limit else Status.DEGRADED
        paused = ", and paused" if stream.pause_kind else ""
        sentence = f"{name} is {stream.lag_seconds:,.0f} s behind{paused}"
        yield StreamProblem(status, sentence, f"`pgaudit stream show {name}` says why")
    if stream.pause_kind is None and stream.failing_seconds > settings.health_max_stream_failure:
        sentence = f"{name} has failed for {stream.failing_seconds:,.0f} s: {stream.reason}"
        yield StreamProblem(Status.DEGRADED, sentence, f"try `pgaudit stream test {name}`")
    if stream.parked:
        sentence = f"{name} has parked {stream.parked:,} event(s)"
        yield StreamProblem(Status.DEGRADED, sentence, f"`pgaudit stream parked {name}` lists them: retry or discard")


def streaming(found: Sequence[StreamState], settings: Settings) -> Check:
    """Returns the verdict on the streams. What is observed is the age of the oldest event that one has not got to."""
    lag, limit = max((stream.overdue_seconds for stream in found), default=0.0), settings.health_max_stream_lag
    named = problems(found, settings)
    if not named:
        message = f"{len(found)} stream(s) send what is in the log." if found else "There is no stream."
        return Check("streams", Status.HEALTHY, lag, limit, message)
    sentences = "; ".join(f"{problem.sentence}: {problem.remedy}" for problem in named[:SHOWN])
    more = f" … and {len(named) - SHOWN} more: see `pgaudit doctor`" if len(named) > SHOWN else ""
    return Check("streams", named[0].status, lag, limit, f"{sentences}{more}.")
