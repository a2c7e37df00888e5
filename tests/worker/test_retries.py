"""Retries: when a failed job runs again, and which errors count as attempts."""

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from psycopg import errors

from pgaudit import Settings
from pgaudit._backoff import JITTER
from pgaudit.worker.failures import Failure, is_infrastructure
from pgaudit.worker.retry_policy import NotPersisted, RetryPolicy, delay_before_retry


def job(attempts: int) -> Job:
    """Returns a job that has failed that often."""
    return Job(id=1, queue="audit", lock=None, queueing_lock=None, task_name="pgaudit.persist", attempts=attempts)


def test_the_delay_doubles_with_each_attempt_within_a_fifth() -> None:
    """The delay is delay, 2 delay, 4 delay …, plus or minus a fifth."""
    settings = Settings(job_attempts=10, job_backoff_delay=2_000)
    for attempts, middle in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0)):
        delays = [delay_before_retry(attempts, settings) or 0.0 for _ in range(500)]
        assert middle * (1 - JITTER) <= min(delays) < middle < max(delays) <= middle * (1 + JITTER)


def test_the_delay_has_a_cap() -> None:
    """The delay is at most job_backoff_max plus a fifth."""
    settings = Settings(job_attempts=100, job_backoff_delay=2_000, job_backoff_max=10_000)
    assert 8 <= (delay_before_retry(90, settings) or 0.0) <= 12


@pytest.mark.parametrize("attempts", [1, 3, 7])
def test_the_last_attempt_has_no_retry(attempts: int) -> None:
    """job_attempts counts all runs, the first included."""
    settings = Settings(job_attempts=attempts)
    assert delay_before_retry(attempts, settings) is None
    assert attempts == 1 or delay_before_retry(attempts - 1, settings) is not None


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection lost"),
        errors.ConnectionFailure(),
        errors.InFailedSqlTransaction(),
        errors.SerializationFailure(),
        errors.DeadlockDetected(),
        errors.UndefinedFunction(),
        errors.InsufficientPrivilege(),
        errors.DiskFull(),
        errors.LockNotAvailable(),
        errors.AdminShutdown(),
        errors.QueryCanceled(),
        errors.IoError(),
        ConnectorException(),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_infrastructure_errors_are_recognized(error: Exception) -> None:
    """Classes 08, 25, 40, 42, 53, 55, 57, 58, lost connections and operating system errors are infrastructure."""
    assert is_infrastructure(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.UniqueViolation(),
        errors.DataCorrupted(),
        errors.InvalidTextRepresentation(),
        errors.NotNullViolation(),
        errors.ProgramLimitExceeded(),
        ValueError(),
        psycopg.InterfaceError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_infrastructure(error: Exception) -> None:
    """Errors about data count as attempts."""
    assert not is_infrastructure(error)


def test_the_cause_decides() -> None:
    """An error that wraps a database error counts as that error."""
    wrapped = ConnectorException()
    wrapped.__cause__ = errors.UniqueViolation()
    assert not is_infrastructure(wrapped)
    outer = ValueError()
    outer.__context__ = errors.AdminShutdown()
    assert is_infrastructure(outer)


def test_a_failure_that_counts_uses_up_an_attempt() -> None:
    """A failure of the event is retried while attempts are left."""
    failures = [Failure.from_exception(7, attempts, ValueError(), Settings(job_attempts=2), 0.1) for attempts in (0, 1)]
    assert [failure.counted for failure in failures] == [True, True]
    assert [failure.retry_in is None for failure in failures] == [False, True]


def test_a_failure_of_the_infrastructure_is_always_retried() -> None:
    """A failure of the database counts as no attempt, however many there were."""
    failure = Failure.from_exception(7, 50, errors.AdminShutdown(), Settings(job_attempts=2), 0.1)
    assert not failure.counted
    assert failure.retry_in == 0.1


def test_the_retry_policy_repeats_the_decision() -> None:
    """RetryPolicy repeats the decision of NotPersisted, and answers an abort with a retry."""
    policy = RetryPolicy()
    assert policy.get_retry_decision(exception=NotPersisted("refused", 2.0), job=job(0)) is not None
    assert policy.get_retry_decision(exception=NotPersisted("refused", None), job=job(0)) is None
    assert policy.get_retry_decision(exception=KeyboardInterrupt(), job=job(50)) is not None
