"""What the routes send as JSON."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

from pydantic import TypeAdapter
from starlette.responses import Response

from pgaudit.health import Check, HealthReport, Status
from pgaudit.stats import QueueStats, WorkerStats
from pgaudit.web.problems import NEVER_CACHED

# Checks whose sentence everybody may read: ages and counts. What is not here may name hosts, roles or paths.
TOLD: Final = frozenset(
    {"schema_version", "workers", "oldest_waiting", "failed", "stalled", "partitions", "long_transactions"}
)


@dataclass(frozen=True, slots=True)
class PublicCheck:
    """The verdict on one thing."""

    name: str
    status: Status


@dataclass(frozen=True, slots=True)
class PublicHealth:
    """The verdict on the trail, and the reason when it is not a good one."""

    status: Status
    reason: str | None
    checks: tuple[PublicCheck, ...]

    @classmethod
    def of(cls, report: HealthReport) -> Self:
        """What of a report everybody may know."""
        reasons = [sentence(check) for check in report.checks if check.status is not Status.HEALTHY]
        checks = tuple(PublicCheck(check.name, check.status) for check in report.checks)
        return cls(report.status, " ".join(reasons) or None, checks)


def sentence(check: Check) -> str:
    """What everybody may know of a check that is not healthy."""
    if check.name in TOLD:
        return check.message
    return f"The check of `{check.name}` is {check.status}: its details are for administrators."


@dataclass(frozen=True, slots=True)
class Statistics:
    """The queue, and the workers that empty it. Ages are in seconds."""

    queues: list[QueueStats]
    workers: list[WorkerStats]


@dataclass(frozen=True, slots=True)
class Retried:
    """The job that waits again, from its first attempt."""

    job_id: int
    state: str = "waiting"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


@cache
def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """What turns that kind into JSON, and describes it."""
    return TypeAdapter(kind)


def json_response(body: PublicHealth | HealthReport | Statistics | Retried, status: int = 200) -> Response:
    """The body as a response."""
    kind: type[Any] = type(body)
    return Response(adapter(kind).dump_json(body), status, NEVER_CACHED, "application/json")
