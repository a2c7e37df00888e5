"""The defaults of attempts and delays: one place in the database, and the same as those of the settings."""

import pytest

from pgaudit import AuditLog, Mode, Settings
from tests.support.events import event
from tests.support.jobs import insert_poison
from tests.support.queries import Connection

DEFAULTS = Settings()
RESULT = """
    SELECT status::text, attempts, extract(epoch FROM scheduled_at - failed_at)::float
      FROM pgaudit.audit_jobs JOIN pgaudit.job_error ON job_id = audit_jobs.id ORDER BY job_error.id DESC LIMIT 1
"""
DECLARED = """
    SELECT proname FROM pg_proc
     WHERE pronamespace = 'pgaudit'::regnamespace AND proname NOT LIKE 'procrastinate%'
       AND concat(prosrc, pg_get_function_arguments(oid)) ~ '300 s|00:05:00'
"""
JITTER = 0.2
# Seconds that may pass in the function between computing the delay and noting the failure.
SLACK = 0.5


@pytest.mark.parametrize("function", ["persist", "record_inline"])
def test_a_job_fails_by_default_as_the_settings_say(conn: Connection, dsn: str, function: str) -> None:
    """Each attempt of a job is followed by the delay of the default settings, and the last one by none."""
    insert_poison(conn, "{}")
    for attempt in range(1, DEFAULTS.job_attempts):
        fail(conn, dsn, function)
        status, attempts, delay = conn.execute(RESULT).fetchone() or (None, None, None)
        assert (status, attempts) == ("todo", attempt)
        assert_delay(delay, DEFAULTS.job_backoff_delay / 1000 * 2 ** (attempt - 1))
        conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = NULL")
    fail(conn, dsn, function)
    assert conn.execute(RESULT).fetchone() == ("failed", DEFAULTS.job_attempts, None)


def test_the_default_delay_is_limited_as_the_settings_say(conn: Connection) -> None:
    """After many attempts the delay is the highest one of the default settings."""
    insert_poison(conn, "{}")
    conn.execute("UPDATE pgaudit.audit_jobs SET attempts = 50")
    conn.execute("SELECT pgaudit.persist(NULL, NULL, 10, 100)")
    _, _, delay = conn.execute(RESULT).fetchone() or (None, None, None)
    assert_delay(delay, DEFAULTS.job_backoff_max / 1000)


def test_one_function_declares_the_defaults(conn: Connection) -> None:
    """The functions that call it pass on NULL, or what they were given."""
    assert conn.execute(DECLARED).fetchall() == [("record_failures",)]


def fail(conn: Connection, dsn: str, function: str) -> None:
    """Lets the only job in the queue fail, with the defaults of a function that takes it."""
    if function == "persist":
        conn.execute("SELECT pgaudit.persist(NULL, NULL, 10)")
    else:
        AuditLog(Settings(dsn=dsn, mode=Mode.INLINE)).record(conn, event())


def assert_delay(seconds: float | None, expected: float) -> None:
    """The delay has at most a fifth of jitter."""
    assert seconds is not None
    assert seconds <= expected * (1 + JITTER)
    assert seconds >= expected * (1 - JITTER) - SLACK
