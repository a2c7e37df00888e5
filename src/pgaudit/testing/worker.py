"""What a worker does, once, before the call returns."""

import json
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import driver_of

REGISTER: Final = "SELECT token FROM pgaudit.register_worker()"
UNREGISTER: Final = "SELECT pgaudit.unregister_worker(%s)"
FETCH: Final = "SELECT job_id FROM pgaudit.fetch_job(%s)"
# One attempt: what fails must not come back while this runs. As text: the connection may have its own way to load JSON,
# as Django's has.
PERSIST: Final = "SELECT to_jsonb(failures)::text FROM pgaudit.persist(%s, %s, 1000, 1)"
# Failed jobs go back as they were.
RETRY: Final = "SELECT pgaudit.retry_failed(%s::bigint[])"
LOGGED: Final = "SELECT completed FROM pgaudit.queue_stats"


class EventsNotPersisted(AssertionError):
    """Events that the log does not take. Their jobs are in the queue as before; all others are in the log."""


def run_worker_once(conn: object) -> int:
    """Persists what is due in the queue, on this connection. Returns how many events that added to the log.

    >>> run_worker_once(conn)
    1

    The connection is psycopg's, or Django's or SQLAlchemy's on psycopg. Outside a transaction, this is one and is
    committed; inside, it is a part of it: what was recorded and not yet committed is persisted too.

    :raises EventsNotPersisted: some could not be persisted; the message names them.
    :raises UnknownConnection: there is no synchronous psycopg connection below it.
    """
    __tracebackhide__ = True
    driver = driver_of(conn)
    with driver.transaction():
        before = value(driver, LOGGED)
        failures = persist_all(driver)
        logged: int = value(driver, LOGGED) - before
    if failures:
        raise EventsNotPersisted(describe(failures))
    return logged


def persist_all(conn: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Persists batch by batch. Returns the failures; their jobs are in the queue as before."""
    failures: list[dict[str, Any]] = []
    token = value(conn, REGISTER)
    while (job := value(conn, FETCH, token)) is not None:
        failures += json.loads(value(conn, PERSIST, token, job))
    value(conn, UNREGISTER, token)
    value(conn, RETRY, [failure["job_id"] for failure in failures])
    return failures


def value(conn: psycopg.Connection[Any], query: Any, *parameters: object) -> Any:
    """Returns the one value of a query; None without a row."""
    with psycopg.Cursor(conn, row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchone()


def describe(failures: list[dict[str, Any]]) -> str:
    """Returns a line for each failure."""
    line = "    job {job_id}, event {event_id}: {message} (SQLSTATE {sqlstate})"
    lines = [line.format(**failure) for failure in failures]
    return "\n".join([f"{len(failures)} of the queue's events cannot be persisted:", "", *lines])
