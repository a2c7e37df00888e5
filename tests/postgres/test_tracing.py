"""Spans, and the way from the span that recorded an event to the one that persisted it."""

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
from tests.postgres.traces import Spans, ids, linked, logged_ids, remote_parent
from tests.postgres.trail import Connection, event
from tests.worker.inside import drain
from tests.worker.queue import rows, value

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


async def test_a_batch_is_linked_to_what_recorded_it(conn: Connection, settings: Settings, spans: Spans) -> None:
    """The record span is the application's child, its ids are in the events, and the batch has one link to it."""
    with spans.tracer.start_as_current_span("approve"):
        AuditLog(settings).record(conn, event(1), event(2))
    conn.commit()
    await drain(settings)
    approve, recorded, persisted = (spans.only(name) for name in ("approve", "pgaudit.record", "pgaudit.persist"))
    assert recorded.parent == approve.context
    assert logged_ids(conn) == [ids(recorded)] * 2
    assert linked(persisted) == {ids(recorded)}
    assert (len(persisted.links), persisted.parent) == (1, None)
    assert persisted.context.trace_id != recorded.context.trace_id


async def test_a_span_says_what_was_done_and_to_how_many(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Producer and consumer, by OpenTelemetry's conventions for messaging; nothing of the events."""
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
    assert (recorded.kind, recorded.attributes) == (SpanKind.PRODUCER, common | record)
    assert (persisted.kind, persisted.attributes) == (SpanKind.CONSUMER, common | persist)
    assert {recorded.status.status_code, persisted.status.status_code} == {StatusCode.UNSET}


async def test_asynchronous_and_autonomous_recording_are_traced_alike(
    dsn: str, conn: Connection, settings: Settings, spans: Spans
) -> None:
    """Four ways to record, four spans, each event with the ids of its own, all linked to one batch."""
    audit = AuditLog(settings)
    audit.record(conn, event(1))
    conn.commit()
    async with await psycopg.AsyncConnection.connect(dsn) as own:
        await audit.record_async(own, event(2))
    audit.record_autonomous(event(3))
    await audit.record_autonomous_async(event(4))
    await drain(settings)
    recorded = [ids(span) for span in spans.named("pgaudit.record")]
    assert logged_ids(conn) == recorded
    assert linked(spans.only("pgaudit.persist")) == set(recorded)
    assert len(set(recorded)) == 4


async def test_nothing_taken_makes_no_span(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Neither polls that find nothing, nor a change that was rolled back, nor calls that record nothing."""
    AuditLog(Settings(dsn=settings.dsn, mode="off")).record(conn, event())
    AuditLog(settings).record(conn)
    await drain(settings)
    assert spans.exporter.get_finished_spans() == ()
    AuditLog(settings).record(conn, event())
    conn.rollback()
    await drain(settings)
    assert [span.name for span in spans.exporter.get_finished_spans()] == ["pgaudit.record"]


@pytest.mark.parametrize("continued", [True, False])
async def test_a_request_keeps_the_trace_that_it_came_with(
    conn: Connection, settings: Settings, spans: Spans, *, continued: bool
) -> None:
    """Where the application continues that trace the record span is what links; else the caller's span."""

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
    assert logged_ids(conn) == [expected]
    assert linked(spans.only("pgaudit.persist")) == {expected}


async def test_an_event_keeps_the_trace_that_it_was_given(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Whatever is current or bound; and it is not given a span of another trace."""
    own = [AuditContext(trace_id=TRACE, span_id=CALLER), AuditContext(trace_id=TRACE)]
    with spans.tracer.start_as_current_span("approve"), bind(trace_id="f" * 32, span_id="e" * 16):
        AuditLog(settings).record(conn, *(AuditEvent(action="claim.approved", context=context) for context in own))
    conn.commit()
    await drain(settings)
    assert logged_ids(conn) == [(TRACE, CALLER), (TRACE, None)]
    assert linked(spans.only("pgaudit.persist")) == {(TRACE, CALLER)}


@pytest.mark.parametrize("mode", ["queue", "inline"])
async def test_an_event_recorded_again_in_another_span_is_the_same(
    dsn: str, conn: Connection, spans: Spans, mode: Any
) -> None:
    """A client that retries an unclear commit adds a sighting and no second row; another request's event is kept."""
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
    assert logged_ids(conn) == [ids(first), ids(other)]
    assert rows(conn, "SELECT event_id, index FROM pgaudit.event_sighting") == [(made.id, 0)]
    assert rows(conn, "SELECT index FROM pgaudit.conflicting_events") == [(1,)]
    assert value(conn, "SELECT count(*) FROM pgaudit.audit_jobs") == 0  # nothing failed


async def test_the_api_alone_costs_an_event_nothing(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an SDK there is no span; where a trace passes through, events are tied to the caller's."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    AuditLog(settings).record(conn, event(1))
    with remote_parent(TRACE, CALLER):
        AuditLog(settings).record(conn, event(2))
    conn.commit()
    await drain(settings)
    assert logged_ids(conn) == [(None, None), (TRACE, CALLER)]


def test_recording_and_persisting_work_without_opentelemetry(dsn: str, conn: Connection) -> None:
    """It is an extra: events have no trace then."""
    command = [sys.executable, "-c", WITHOUT, dsn]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert logged_ids(conn) == [(None, None)]


def test_opentelemetry_is_imported_when_an_audit_log_is_made() -> None:
    """Not by ``import pgaudit``, which would take longer, and not while the first event is recorded."""
    code = """if True:
        import sys, pgaudit
        assert "opentelemetry" not in sys.modules
        pgaudit.AuditLog()
        assert "opentelemetry.trace" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
