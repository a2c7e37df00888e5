"""When a job runs again, and which errors are not its fault."""

import random
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from pgaudit.settings import Settings
from pgaudit.sqlstates import blames_database, causes

JITTER: Final = 0.2


def is_infrastructure(error: BaseException) -> bool:
    """Whether the database or the way to it is to blame, and not the event."""
    origin = next((cause for cause in causes(error) if isinstance(cause, psycopg.Error)), None)
    if origin is not None:
        return blames_database(origin)
    return isinstance(error, ConnectorException | OSError)


def delay_before_retry(attempts: int, settings: Settings) -> float | None:
    """Seconds until the next run of a job that has now failed ``attempts`` times; None when it is over.

    ``job_backoff_delay`` doubles with every attempt up to ``job_backoff_max``, and is then spread by
    a fifth either way, so that jobs which failed together do not come back together.
    """
    if attempts >= settings.job_attempts:
        return None
    return spread(min(settings.job_backoff_delay * 2 ** (attempts - 1), settings.job_backoff_max) / 1_000)


def spread(delay: float) -> float:
    """The delay, give or take a fifth."""
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret depends on it


class Backoff(BaseRetryStrategy):
    """Tells Procrastinate, for its log, what ``pgaudit.outcomes`` has already written down.

    It answers a shutdown's abort too: without an answer Procrastinate would end the job as aborted.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if not isinstance(exception, Exception) or is_infrastructure(exception):
            return RetryDecision(retry_at=datetime.now(UTC))
        delay = delay_before_retry(job.attempts + 1, self._settings)
        return None if delay is None else RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=delay))
