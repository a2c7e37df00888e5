"""When a failed job runs again."""

from datetime import UTC, datetime, timedelta

from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from pgaudit._backoff import backoff_delay
from pgaudit.settings import Settings


class NotPersisted(Exception):
    """What Procrastinate sees and logs in place of the error: its summary, which quotes no event.

    ``retry_in``: seconds until the next attempt; None when there is none.
    """

    def __init__(self, summary: str, retry_in: float | None) -> None:
        super().__init__(summary)
        self.retry_in = retry_in


def delay_before_retry(attempts: int, settings: Settings) -> float | None:
    """Returns the seconds until the next run of a job that has now failed ``attempts`` times; None after the last one.

    ``job_backoff_delay`` doubles with every attempt up to ``job_backoff_max``, and then gets jitter.
    """
    if attempts >= settings.job_attempts:
        return None
    return backoff_delay(attempts, settings.job_backoff_delay, settings.job_backoff_max) / 1_000


class RetryPolicy(BaseRetryStrategy):
    """Repeats to Procrastinate, for its log, what ``failures`` has decided and recorded.

    It also answers when a shutdown aborts a job: without an answer Procrastinate would end the job as aborted.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:  # noqa: ARG002 - Procrastinate's signature
        delay = exception.retry_in if isinstance(exception, NotPersisted) else 0.0
        return None if delay is None else RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=delay))
