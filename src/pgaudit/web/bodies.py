"""What the routes send as JSON."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self

from pydantic import TypeAdapter
from starlette.responses import Response

from pgaudit.health import Check, HealthReport, Status
from pgaudit.stats import QueueStats, WorkerStats
from pgaudit.web.problems import NEVER_CACHED

# Checks whose message is public: ages and counts. Those of the others may name hosts, roles or paths.
PUBLIC_CHECKS: Final = frozenset(
    {"schema_version", "workers", "oldest_waiting", "failed", "stalled", "partitions", "long_transactions", "worker"}
)
PUBLIC_MESSAGES: Final = {
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
        reasons = [public_message(check) for check in report.checks if check.status is not Status.HEALTHY]
        checks = tuple(PublicCheck(check.name, check.status) for check in report.checks)
        return cls(report.status, " ".join(reasons) or None, checks)


HEALTH: Final = TypeAdapter(PublicHealth)


def public_message(check: Check) -> str:
    """Returns what may be public about a check that is not healthy."""
    if check.name in PUBLIC_CHECKS:
        return check.message
    return PUBLIC_MESSAGES.get(check.name, f"The check of {check.name} is {check.status}.")


def health_response(report: HealthReport) -> Response:
    """Returns the public health as a response: 503, which makes a probe fail, when it is unhealthy."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if report.status is Status.UNHEALTHY else HTTPStatus.OK
    return Response(HEALTH.dump_json(PublicHealth.of(report)), status, NEVER_CACHED, "application/json")


@dataclass(frozen=True, slots=True)
class QueueStatistics:
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
    position: int | None = None
    """Place of the fault in the text of a search, in characters from 0."""
