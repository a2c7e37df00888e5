"""Spans of failures: the kind of error, and nothing of the event."""

import json
from pathlib import Path

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from pgaudit import AuditEvent, AuditLog, InvalidEvent, Settings
from tests.support.events import event
from tests.support.jobs import insert_poison_and_commit
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, value_and_commit
from tests.support.traces import Spans, ids, linked, logged_spans
from tests.support.worker import drain

pytestmark = pytest.mark.anyio
SECRET = "the diagnosis of a patient"

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '%', NEW USING ERRCODE = TG_ARGV[0];
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgaudit.{} FOR EACH ROW EXECUTE FUNCTION refuse('{}')
"""
# Contexts of events. Only the first one names a span.
CONTEXTS = [
    {"trace_id": "a" * 32, "span_id": "b" * 16},
    {"trace_id": "A" * 32, "span_id": "b" * 16},
    {"trace_id": "a" * 32 + "\n", "span_id": "b" * 16},
    {"trace_id": "0" * 32, "span_id": "b" * 16},
    {"trace_id": "a" * 32, "span_id": "0" * 16},
    {"trace_id": "a" * 32},
    {"trace_id": "a" * 31, "span_id": "b" * 17},
    {"trace_id": ["a" * 32], "span_id": {"b": 16}},
    "a" * 32,
    None,
    7,
    [],
]


def outcome(span: ReadableSpan) -> tuple[StatusCode, str | None, object]:
    """Returns status, description and error type of a span; fails if the span quotes the event."""
    assert SECRET not in span.to_json()
    return span.status.status_code, span.status.description, (span.attributes or {}).get("error.type")


def secret_event() -> AuditEvent:
    """Returns an event with a secret in it."""
    return AuditEvent(action="claim.approved", actor=f"user:{SECRET}", data={"note": SECRET})


def refuse_inserts_and_commit(conn: Connection, table: str, sqlstate: str) -> None:
    """Makes inserts into a table fail with a message that quotes the row, and commits."""
    conn.execute(REFUSE.format(table, sqlstate))
    conn.commit()


async def test_an_error_in_recording_is_on_its_span(dsn: str, conn: Connection, spans: Spans) -> None:
    """The span has the kind of error, however the event was recorded, but not the message."""
    refuse_inserts_and_commit(conn, "audit_jobs", "22000")
    audit = AuditLog(Settings(dsn=dsn))
    with pytest.raises(psycopg.DataError):
        audit.record(conn, secret_event())
    with pytest.raises(psycopg.DataError):
        audit.record_autonomous(secret_event())
    with pytest.raises(psycopg.DataError):
        await audit.record_autonomous_async(secret_event())
    async with await psycopg.AsyncConnection.connect(dsn) as own:
        with pytest.raises(psycopg.DataError):
            await audit.record_async(own, secret_event())
    assert [outcome(span) for span in spans.named("pgaudit.record")] == [
        (StatusCode.ERROR, "DataException, SQLSTATE 22000", "DataException")
    ] * 4


def test_a_refused_event_is_an_error_of_its_span(dsn: str, conn: Connection, spans: Spans) -> None:
    """The description is pgaudit's own message, which names action and size."""
    made = secret_event().model_copy(update={"reason": "x" * 1_024})
    with pytest.raises(InvalidEvent):
        AuditLog(Settings(dsn=dsn, max_event_bytes=1_024)).record(conn, made)
    code, description, kind = outcome(spans.only("pgaudit.record"))
    assert code == StatusCode.ERROR
    assert kind == "InvalidEvent"
    assert "PGAUDIT_MAX_EVENT_BYTES" in (description or "")


async def test_a_spooled_event_is_an_error_of_its_span(
    dsn: str, conn: Connection, spans: Spans, tmp_path: Path
) -> None:
    """The span has the error although the change goes on, because the event is not in the queue."""
    refuse_inserts_and_commit(conn, "audit_jobs", "22000")
    audit = AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path))
    audit.record(conn, secret_event())
    async with await psycopg.AsyncConnection.connect(dsn) as own:
        await audit.record_async(own, secret_event())
    expected = (StatusCode.ERROR, "DataException, SQLSTATE 22000", "DataException")
    assert [outcome(span) for span in spans.named("pgaudit.record")] == [expected] * 2


async def test_a_failed_job_is_an_event_of_its_batchs_span(
    dsn: str, settings: Settings, conn: Connection, spans: Spans
) -> None:
    """The span of a batch has an event for each failed job, and ends with an error."""
    AuditLog(settings).record(conn, event())
    job = insert_poison_and_commit(conn)
    conn.commit()
    await drain(Settings(dsn=dsn, job_attempts=1))
    span = spans.only("pgaudit.persist")
    assert outcome(span) == (StatusCode.ERROR, "not all jobs were persisted", None)
    (failure,) = span.events
    assert failure.name == "exception"
    assert failure.attributes == {"pgaudit.job_id": job, "exception.type": "DataCorrupted", "sqlstate": "XX001"}
    assert linked(span) == {ids(spans.only("pgaudit.record"))}


async def test_a_rolled_back_batch_ends_with_an_error(dsn: str, conn: Connection, spans: Spans) -> None:
    """The span of a batch that was rolled back has the error, and no links."""
    AuditLog(Settings(dsn=dsn)).record(conn, event())
    refuse_inserts_and_commit(conn, "batch", "53100")
    await drain(Settings(dsn=dsn, job_backoff_delay=60_000))
    code, description, kind = outcome(spans.only("pgaudit.persist"))
    assert code == StatusCode.ERROR
    assert kind == "DiskFull"
    assert (description or "").startswith("DiskFull, SQLSTATE 53100")
    assert value_and_commit(conn, LOG_SIZE) == 0


async def test_a_context_that_names_no_span_is_not_linked(conn: Connection, settings: Settings, spans: Spans) -> None:
    """Contexts of any shape are persisted; only a valid pair of trace_id and span_id is linked."""
    documents = json.dumps([json.loads(event().to_json()) | {"context": context} for context in CONTEXTS])
    for _ in range(2):
        conn.execute("SELECT pgaudit.record(%s)", [documents])
    conn.commit()
    await drain(settings)
    assert value_and_commit(conn, LOG_SIZE) == len(CONTEXTS)
    assert value_and_commit(conn, COUNT_JOBS) == 0
    assert linked(spans.only("pgaudit.persist")) == {("a" * 32, "b" * 16)}


async def test_a_batch_has_at_most_128_links(conn: Connection, settings: Settings, spans: Spans) -> None:
    """A batch has as many links as OpenTelemetry keeps by default, each of them once."""
    for number in range(130):
        AuditLog(settings).record(conn, event(number), event(number))
    conn.commit()
    await drain(settings)
    links = linked(spans.only("pgaudit.persist"))
    assert len(spans.only("pgaudit.persist").links) == len(links) == 128
    assert links < {(trace or "", span or "") for trace, span in logged_spans(conn)}
