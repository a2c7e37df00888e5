"""What each contender does in Python to record one event in the transaction of a connection."""

import json
from collections.abc import Callable
from typing import Any, Final

import psycopg
from procrastinate import App
from psycopg import RawCursor, sql

from benchmarks.support.load import event
from benchmarks.support.plain_log import STORE
from pgaudit import AuditLog, Settings

Recorder = Callable[[psycopg.Connection[Any], int], None]
OUTBOX: Final = "INSERT INTO outbox (payload) VALUES ($1)"


def record_nothing(_conn: psycopg.Connection[Any], _number: int) -> None:
    """Leaves the transaction as it is."""


def by_pgaudit() -> Recorder:
    """Returns a recorder that makes an event and calls ``audit.record``."""
    audit = AuditLog(Settings())

    def record(conn: psycopg.Connection[Any], number: int) -> None:
        audit.record(conn, event(number))

    return record


def by_stock(app: App, arguments: Callable[[int], dict[str, Any]]) -> Recorder:
    """Returns a recorder that defers a job of Procrastinate's with these arguments for each number."""

    @app.task(name="store", queue="audit")
    def store(event: dict[str, Any]) -> None:
        del event

    def record(conn: psycopg.Connection[Any], number: int) -> None:
        store.configure(connection=conn).defer(event=arguments(number))

    return record


def by_insert() -> Recorder:
    """Returns a recorder that inserts an event into the plain log."""
    return _by_statement(STORE)


def by_outbox() -> Recorder:
    """Returns a recorder that inserts an event into an outbox."""
    return _by_statement(OUTBOX)


def job_arguments(number: int) -> dict[str, Any]:
    """Returns a new event as the arguments of a job."""
    made: dict[str, Any] = json.loads(event(number).to_json())
    return made


def _by_statement(statement: str) -> Recorder:
    def record(conn: psycopg.Connection[Any], number: int) -> None:
        RawCursor(conn).execute(sql.SQL(statement), [event(number).to_json()])

    return record
