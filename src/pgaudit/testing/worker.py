"""What a worker does, once, before the call returns."""

import json
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgaudit.testing.driver import driver_of

FETCH: Final = "SELECT id FROM pgaudit.fetch_lead(%s)"
# As text: the connection may have its own way to load JSON, as Django's has.
PERSIST: Final = "SELECT claimed, to_jsonb(failures)::text FROM pgaudit.persist(%s, %s, %s)"
RELEASE: Final = "SELECT pgaudit.release(%s::bigint[], %s)"
LOGGED: Final = "SELECT completed FROM pgaudit.queue_stats"
# No worker's: the database numbers them from 1.
WORKER: Final = 0
BATCH_SIZE: Final = 1_000


class EventsNotPersisted(AssertionError):
    """Events that the log does not take. Their jobs are in the queue as before; all others are in the log."""


def run_worker_once(conn: object) -> int:
    """Persists what is due in the queue, on this connection; how many events that added to the log.

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
    """Persists batch by batch; the jobs that fail even as the lead of theirs."""
    failures: dict[int, dict[str, Any]] = {}
    while (lead := value(conn, FETCH, WORKER)) is not None:
        failures |= {failure["job_id"]: failure for failure in persist(conn, lead)}
    # A lead that failed has stayed ours until now, or it would be fetched for ever.
    value(conn, RELEASE, list(failures), WORKER)
    return list(failures.values())


def persist(conn: psycopg.Connection[Any], lead: int) -> list[dict[str, Any]]:
    """Persists a job with those that travel with it; what could not be persisted."""
    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        (_, failures) = cursor.execute(PERSIST, [WORKER, lead, BATCH_SIZE]).fetchone() or (0, "[]")
    return list(json.loads(failures))


def value(conn: psycopg.Connection[Any], query: Any, *parameters: object) -> Any:
    """The one value that a query returns; None without a row."""
    with psycopg.Cursor(conn, row_factory=scalar_row) as cursor:
        return cursor.execute(query, parameters).fetchone()


def describe(failures: list[dict[str, Any]]) -> str:
    """One line for each failure."""
    line = "    job {job_id}, event {event_id}: {message} (SQLSTATE {sqlstate})"
    lines = [line.format(**failure) for failure in failures]
    return "\n".join([f"{len(failures)} of the queue's events cannot be persisted:", "", *lines])
