"""run_worker_once(): one run of a worker in the test's process, on the test's connection."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import transaction as django_transaction
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from pgaudit import AuditLog, Settings, UnknownConnection
from pgaudit.testing import EventsNotPersisted, assert_nothing_recorded, assert_recorded, run_worker_once
from pgaudit.testing.trail import events_of
from tests.support.audit_log import assert_dense, logged_ids
from tests.support.drivers import django_connection
from tests.support.events import event
from tests.support.jobs import let_jobs_be_edited, queued_ids, record_and_commit
from tests.support.queries import Connection

TAMPER = """
    UPDATE pgaudit.audit_jobs SET event = jsonb_set(event, '{action}', '"claim.denied"') WHERE event->>'id' = %s
"""
MAKE_DUE = "UPDATE pgaudit.audit_jobs SET stalls = %s, scheduled_at = now() WHERE event->>'id' = %s"
STATES = "SELECT status, worker_id, attempts FROM pgaudit.audit_jobs ORDER BY id"


@contextmanager
def second_connection(dsn: str) -> Generator[Connection]:
    """Opens another session, in autocommit."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def test_a_run_appends_the_whole_queue(conn: Connection, dsn: str) -> None:
    """A run appends more than one batch in order, commits, and returns the number of jobs."""
    events = [event(number) for number in range(1_200)]
    record_and_commit(conn, *events)
    assert run_worker_once(conn) == 1_200
    with second_connection(dsn) as other:
        assert logged_ids(other) == [one.id for one in events]
        assert_dense(other)
    assert run_worker_once(conn) == 0


def test_a_run_inside_a_transaction_is_part_of_it(conn: Connection) -> None:
    """A test that rolls back leaves nothing in the log."""
    AuditLog().record(conn, event())
    assert run_worker_once(conn) == 1
    assert_recorded(conn, action="claim.approved")
    conn.rollback()
    assert_nothing_recorded(conn)


def test_retries_that_are_due_are_persisted(conn: Connection) -> None:
    """A run persists due retries of failed and of stalled jobs."""
    fresh, retried, stalled = event(1), event(2), event(3)
    record_and_commit(conn, fresh, retried, stalled)
    conn.execute(MAKE_DUE, [0, str(retried.id)])
    conn.execute(MAKE_DUE, [1, str(stalled.id)])
    conn.commit()
    assert run_worker_once(conn) == 3
    assert {fresh.id, retried.id, stalled.id} == set(logged_ids(conn))


def test_an_event_recorded_twice_is_logged_and_counted_once(conn: Connection) -> None:
    """An event that was recorded twice counts as one event for the asserts, queued or logged."""
    record_and_commit(conn, event(1))
    twice = event(2)
    record_and_commit(conn, twice, twice)
    assert_recorded(conn, target="claim:2")
    assert run_worker_once(conn) == 2
    assert_recorded(conn, target="claim:2")


def test_events_that_cannot_be_persisted_are_named(conn: Connection, dsn: str) -> None:
    """The error names each event with its reason; the others are in the log, and the jobs wait as before."""
    events = [event(number) for number in range(5)]
    record_and_commit(conn, *events)
    for bad in (events[0], events[3]):
        let_jobs_be_edited(conn)
        conn.execute(TAMPER, [str(bad.id)])
    conn.commit()
    with pytest.raises(EventsNotPersisted) as caught:
        run_worker_once(conn)
    first, _, *lines = str(caught.value).splitlines()
    assert first == "2 of the queue's events cannot be persisted:"
    assert [f"event {bad.id}: event {bad.id} was changed" in line for bad, line in zip(events[::3], lines, strict=True)]
    with second_connection(dsn) as other:
        assert logged_ids(other) == [events[number].id for number in (1, 2, 4)]
        assert queued_ids(other) == [events[0].id, events[3].id]
        assert other.execute(STATES).fetchall() == [("todo", None, 0)] * 2


@pytest.mark.parametrize(
    "options", [{"autocommit": True}, {"row_factory": dict_row}, {"cursor_factory": psycopg.RawCursor}]
)
def test_any_psycopg_connection_is_accepted(dsn: str, options: Any) -> None:
    """Connections and cursors are accepted with any row and cursor factory."""
    with psycopg.connect(dsn, **options) as conn:
        with conn.transaction():
            AuditLog().record(conn, event())
        assert run_worker_once(conn.cursor()) == 1
        assert_recorded(conn.cursor(), action="claim.approved")


def test_connections_and_sessions_of_sqlalchemy_are_accepted(dsn: str) -> None:
    """A run is part of their transaction, and rolled back with it."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.connect() as conn, Session(engine) as session:
        AuditLog().record(conn, event(1))
        assert run_worker_once(conn) == 1
        conn.commit()
        AuditLog().record(session, event(2))
        assert run_worker_once(session) == 1
        assert [one.targets[0].id for one in events_of(session)] == ["1", "2"]
        session.rollback()
        assert [one.targets[0].id for one in events_of(conn)] == ["1"]
    engine.dispose()


def test_django_connections_are_accepted(dsn: str) -> None:
    """A run works inside and outside of atomic(), although Django reads JSON as text."""
    conn = django_connection(dsn)
    try:
        with django_transaction.atomic(using="default"):
            AuditLog().record(conn, event(1))
            assert run_worker_once(conn) == 1
        with django_transaction.atomic(using="default"):
            AuditLog().record(conn, event(2))
        assert run_worker_once(conn) == 1
        assert [one.targets[0].id for one in events_of(conn)] == ["1", "2"]
    finally:
        conn.close()


def test_events_of_has_logged_and_queued_events(conn: Connection, settings: Settings) -> None:
    """Logged events come first, then queued ones, each as it was recorded."""
    events = [event(number) for number in range(3)]
    record_and_commit(conn, *events[:2])
    run_worker_once(conn)
    AuditLog(settings).record(conn, events[2])
    assert events_of(conn) == events
    assert assert_recorded(conn, target="claim:2") == [events[2]]


async def test_an_asynchronous_connection_is_refused(dsn: str) -> None:
    """The message says that a run needs a synchronous psycopg connection."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        with pytest.raises(UnknownConnection, match="AsyncConnection is asynchronous"):
            run_worker_once(conn)
    with pytest.raises(UnknownConnection, match="NoneType has no"):
        assert_recorded(None, action="claim.approved")
