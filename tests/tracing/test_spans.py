"""Spans of recording and persisting, and the links between them."""

import subprocess
import sys
from typing import Any
from unittest.mock import AsyncMock

import psycopg
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from pgaudit import AuditContext, AuditEvent, AuditLog, Settings, bind
from pgaudit.middleware import AsgiMiddleware
from pgaudit.middleware.asgi import Receive, Scope, Send
from tests.support.events import event
from tests.support.queries import COUNT_JOBS, Connection, rows_and_commit, value_and_commit
from tests.support.traces import Spans, ids, linked, logged_spans, remote_parent
from tests.support.worker import drain

pytestmark = pytest.mark.anyio
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"

# Records and persists as if OpenTelemetry were not installed.
WITHOUT = """
import asyncio, sys
sys.modules["opentelemetry"] = None
import psycopg
from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.worker.procrastinate_app import AuditApp
settings = Settings(dsn=sys.argv[1])
with psycopg.connect(settings.dsn) as conn:
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
async def drain():
    app = AuditApp(settings)
    async with app.open_async():
        await app.run_worker_async(wait=False)
asyncio.run(drain())
"""


async def test_a_batch_is_linked_to_the_span_that_recorded_it(
    conn: Connection, settings: Settings, spans: Spans
) -> None:
    """The record span is a child of the application's, its ids are in the events, and the batch has one link to it."""
    with spans.tracer.start_as_current_span("approve"):
        AuditLog(settings).record(conn, event(1), event(2))
    conn.commit()
    await drain(settings)
    approve, recorded, persisted = (spans.only(name) for name in ("approve", "pgaudit.record", "pgaudit.persist"))
    assert recorded.parent == approve.context
    assert logged_spans(conn) == [ids(recorded)] * 2
    assert linked(persisted) == {ids(recorded)}
    assert len(persisted.links) == 1
    assert persisted.parent is None
    assert persisted.context.trace_id != recorded.context.trace_id


async def test_spans_follow_the_conventions_for_messaging(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Kind and attributes follow OpenTelemetry's conventions; none is about the events."""
    AuditLog(settings).record(conn, event(1), event(2))
    conn.commit()
    await drain(settings)
    common = {
        "messaging.system": "pgaudit",
        "messaging.destination.name": "audit",
        "messaging.batch.message_count": 2,
    }
    recorded, persisted = spans.only("pgaudit.record"), spans.only("pgaudit.persist")
    record = {"messaging.operation.name": "record", "messaging.operation.type": "send"}
    persist = {"messaging.operation.name": "persist", "messaging.operation.type": "process"}
    assert recorded.kind == SpanKind.PRODUCER
    assert recorded.attributes == common | record
    assert persisted.kind == SpanKind.CONSUMER
    assert persisted.attributes == common | persist
    assert {recorded.status.status_code, persisted.status.status_code} == {StatusCode.UNSET}


async def test_every_way_to_record_has_a_span(dsn: str, conn: Connection, settings: Settings, spans: Spans) -> None:
    """Each of the four ways to record has its own span, and the batch is linked to all."""
    audit = AuditLog(settings)
    audit.record(conn, event(1))
    conn.commit()
    async with await psycopg.AsyncConnection.connect(dsn) as own:
        await audit.record_async(own, event(2))
    audit.record_autonomous(event(3))
    await audit.record_autonomous_async(event(4))
    await drain(settings)
    recorded = [ids(span) for span in spans.named("pgaudit.record")]
    assert logged_spans(conn) == recorded
    assert linked(spans.only("pgaudit.persist")) == set(recorded)
    assert len(set(recorded)) == 4


async def test_polls_and_empty_calls_have_no_span(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Polls and calls without an event have no span, and an event that is rolled back has no batch."""
    AuditLog(Settings(dsn=settings.dsn, mode="off")).record(conn, event())
    AuditLog(settings).record(conn)
    await drain(settings)
    assert spans.exporter.get_finished_spans() == ()
    AuditLog(settings).record(conn, event())
    conn.rollback()
    await drain(settings)
    assert [span.name for span in spans.exporter.get_finished_spans()] == ["pgaudit.record"]


@pytest.mark.parametrize("continued", [True, False])
async def test_a_batch_is_linked_to_the_trace_of_the_request(
    conn: Connection, settings: Settings, spans: Spans, *, continued: bool
) -> None:
    """The link is to the record span if the application continues the trace, and otherwise to the caller's span."""

    async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
        AuditLog(settings).record(conn, event())
        conn.commit()

    never = AsyncMock(side_effect=AssertionError)
    scope = {"type": "http", "headers": [(b"traceparent", TRACEPARENT.encode())], "client": None}
    if continued:
        with remote_parent(TRACE, CALLER):
            await AsgiMiddleware(application)(scope, never, never)
    else:
        await AsgiMiddleware(application)(scope, never, never)
    await drain(settings)
    expected = ids(spans.only("pgaudit.record")) if continued else (TRACE, CALLER)
    assert expected[0] == TRACE
    assert logged_spans(conn) == [expected]
    assert linked(spans.only("pgaudit.persist")) == {expected}


async def test_an_event_keeps_the_trace_that_it_was_given(conn: Connection, settings: Settings, spans: Spans) -> None:
    """The event's own trace_id wins over current and bound ones, and is never combined with a span of another trace."""
    own = [AuditContext(trace_id=TRACE, span_id=CALLER), AuditContext(trace_id=TRACE)]
    with spans.tracer.start_as_current_span("approve"), bind(trace_id="f" * 32, span_id="e" * 16):
        AuditLog(settings).record(conn, *(AuditEvent(action="claim.approved", context=context) for context in own))
    conn.commit()
    await drain(settings)
    assert logged_spans(conn) == [(TRACE, CALLER), (TRACE, None)]
    assert linked(spans.only("pgaudit.persist")) == {(TRACE, CALLER)}


@pytest.mark.parametrize("mode", ["queue", "inline"])
async def test_an_event_recorded_again_in_another_span_is_the_same(
    dsn: str, conn: Connection, spans: Spans, mode: Any
) -> None:
    """A retry in another span adds a sighting; the same id in another request is a conflict."""
    settings = Settings(dsn=dsn, mode=mode)
    made = event()
    for _ in range(2):
        AuditLog(settings).record(conn, made)
        conn.commit()
    with bind(request_id="r-1"):
        AuditLog(Settings(dsn=dsn)).record(conn, made)
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=1))
    first, _, other = spans.named("pgaudit.record")
    assert logged_spans(conn) == [ids(first), ids(other)]
    assert rows_and_commit(conn, "SELECT event_id, index FROM pgaudit.event_sighting") == [(made.id, 0)]
    assert rows_and_commit(conn, "SELECT index FROM pgaudit.conflicting_events") == [(1,)]
    assert value_and_commit(conn, COUNT_JOBS) == 0  # nothing failed


async def test_without_an_sdk_there_is_no_span(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an SDK no span is made, and events have the ids of the caller's trace, if there is one."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    AuditLog(settings).record(conn, event(1))
    with remote_parent(TRACE, CALLER):
        AuditLog(settings).record(conn, event(2))
    conn.commit()
    await drain(settings)
    assert logged_spans(conn) == [(None, None), (TRACE, CALLER)]


def test_recording_and_persisting_work_without_opentelemetry(dsn: str, conn: Connection) -> None:
    """Without the extra ``otel``, events are recorded and persisted without a trace."""
    command = [sys.executable, "-c", WITHOUT, dsn]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert logged_spans(conn) == [(None, None)]


def test_opentelemetry_is_imported_when_an_audit_log_is_made() -> None:
    """Not by ``import pgaudit``, which would take longer, and not while the first event is recorded."""
    code = """if True:
        import sys, pgaudit
        assert "opentelemetry" not in sys.modules
        pgaudit.AuditLog()
        assert "opentelemetry.trace" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
