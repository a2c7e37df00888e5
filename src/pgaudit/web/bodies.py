"""What the routes send as JSON."""

from dataclasses import dataclass
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
INSTEAD: Final = {
    "database": "The database does not answer, or not to this role.",
    "spooled": "Events wait in files until a worker brings them in.",
}


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
        """Returns what may be public of a report."""
        reasons = [sentence(check) for check in report.checks if check.status is not Status.HEALTHY]
        checks = tuple(PublicCheck(check.name, check.status) for check in report.checks)
        return cls(report.status, " ".join(reasons) or None, checks)


def sentence(check: Check) -> str:
    """Returns what may be public about a check that is not healthy."""
    if check.name in TOLD:
        return check.message
    return INSTEAD.get(check.name, f"The check of {check.name} is {check.status}.")


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


# What turns each kind into JSON, and describes it.
ADAPTERS: Final[dict[type[Any], TypeAdapter[Any]]] = {
    kind: TypeAdapter(kind) for kind in (PublicHealth, HealthReport, Statistics, Retried, Problem)
}


def json_response(body: PublicHealth | HealthReport | Statistics | Retried, status: int = 200) -> Response:
    """Returns the body as a response."""
    # An int is a float to the type checker, and worth a warning to pydantic.
    return Response(ADAPTERS[type(body)].dump_json(body, warnings=False), status, NEVER_CACHED, "application/json")
