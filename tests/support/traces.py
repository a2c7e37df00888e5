"""Spans that a test has collected."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, use_span

from tests.support.queries import Connection

CONTEXTS = "SELECT event->'context' FROM pgaudit.audit_log ORDER BY index"


@dataclass(frozen=True)
class Spans:
    """The application's tracer, and the spans of all tracers."""

    tracer: Tracer
    exporter: InMemorySpanExporter

    def named(self, name: str) -> list[ReadableSpan]:
        """Returns the spans with that name, in the order in which they ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        """Returns the one span with that name."""
        (span,) = self.named(name)
        return span


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Returns the ids of trace and span as an event holds them."""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def linked(span: ReadableSpan) -> set[tuple[str, str]]:
    """Returns the ids of trace and span of each link."""
    return {(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links}


def logged_spans(conn: Connection) -> list[tuple[str | None, str | None]]:
    """Returns the ids of trace and span of each event of the log, in the log's order, and commits."""
    contexts: list[dict[str, Any]] = [context or {} for (context,) in conn.execute(CONTEXTS).fetchall()]
    conn.commit()
    return [(context.get("trace_id"), context.get("span_id")) for context in contexts]


@contextmanager
def remote_parent(trace_id: str, span_id: str) -> Generator[None]:
    """Makes a span of another service the current one, as instrumentation does with a traceparent."""
    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
    with use_span(NonRecordingSpan(context)):
        yield
