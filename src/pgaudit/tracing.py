"""Spans of OpenTelemetry, in an application that uses it.

``pgaudit.record`` belongs to the trace that the application is in, and its ids go into the events. By them
``pgaudit.persist``, one span for a batch, is linked to the spans that its events come from.

OpenTelemetry is never imported here before somebody else has: without that there is no span, and no cost. As with
signals, a span holds nothing of an event but how many there are, nor an error's message that may quote one.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pgaudit.sqlstates import in_brief

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

# What OpenTelemetry's conventions for messaging call it; the destination is the queue.
ATTRIBUTES: Final = {"messaging.system": "pgaudit", "messaging.destination.name": "audit"}
COUNT: Final = "messaging.batch.message_count"
RECORD: Final = {"messaging.operation.name": "record", "messaging.operation.type": "send"}
PERSIST: Final = {"messaging.operation.name": "persist", "messaging.operation.type": "process"}
# What is left to use_span would be the error's message.
SILENT: Final[Mapping[str, Any]] = {"record_exception": False, "set_status_on_exception": False}


def is_used() -> bool:
    """Whether somebody has imported OpenTelemetry's API: without it there is no tracing."""
    return sys.modules.get("opentelemetry.trace") is not None


def is_on() -> bool:
    """Whether spans of ours may go anywhere: the API alone drops them."""
    if not is_used():
        return False
    from opentelemetry.trace import NoOpTracer, ProxyTracer

    return not isinstance(tracer(), NoOpTracer | ProxyTracer)


@contextmanager
def recording(count: int) -> Generator[None]:
    """The current span becomes one for the recording of that many events, if spans go anywhere; none for none."""
    if not count or not is_on():
        yield
        return
    from opentelemetry.trace import SpanKind

    attributes = ATTRIBUTES | RECORD | {COUNT: count}
    span = tracer().start_as_current_span("pgaudit.record", kind=SpanKind.PRODUCER, attributes=attributes, **SILENT)
    with span, failing():
        yield


@contextmanager
def persisting(start: int, count: int | None = None, traces: Sequence[str] | None = None) -> Generator[None]:
    """The current span becomes one for a batch, if spans go anywhere. It may begin when the batch is known.

    :param start: when the work on it began, in nanoseconds of the epoch.
    :param count: how many jobs it took; None if that was never known.
    :param traces: the W3C traceparents of its events.
    """
    if not is_on():
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    span = tracer().start_as_current_span(
        "pgaudit.persist",
        context=Context(),  # a trace of its own: a batch belongs to no request, a worker outlives what started it
        kind=SpanKind.CONSUMER,
        attributes=ATTRIBUTES | PERSIST | ({} if count is None else {COUNT: count}),
        links=[link_to(traceparent) for traceparent in traces or ()],
        start_time=start,
        **SILENT,
    )
    with span, failing():
        yield


@contextmanager
def failing() -> Generator[None]:
    """An error inside is the current span's."""
    try:
        yield
    except Exception as error:
        failed(error)
        raise


def failed(error: Exception) -> None:
    """The current span ends with an error, if it is ours."""
    if is_on() and (span := current_span()):
        span.set_attribute("error.type", type(error).__name__)
        fail(span, in_brief(error))


def job_failed(job: int, error_class: str, sqlstate: str | None) -> None:
    """A job of the current span's batch was not persisted."""
    if is_on() and (span := current_span()):
        span.add_event("exception", {"pgaudit.job_id": job, "exception.type": error_class, "sqlstate": sqlstate or ""})
        fail(span, "not all jobs were persisted")


def ids() -> dict[str, str]:
    """What ties an event to the current span: ``trace_id`` and ``span_id``; nothing, if it has none."""
    span = current_span()
    if span is None or not (context := span.get_span_context()).is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def current_span() -> "Span | None":
    """The span that is current, recording or not."""
    if not is_used():
        return None
    from opentelemetry.trace import get_current_span

    return get_current_span()


def fail(span: "Span", description: str) -> None:
    """The span ends with an error that is described so."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, description)


def link_to(traceparent: str) -> "Link":
    """A link to the span that a traceparent names."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    _, trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-"))
    return Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags)))


def tracer() -> "Tracer":
    """Ours, of the provider that is set now."""
    from opentelemetry.trace import get_tracer_provider

    return tracer_of(get_tracer_provider())


@lru_cache(maxsize=1)  # some providers make a new one each time
def tracer_of(provider: "TracerProvider") -> "Tracer":
    """Our tracer of that provider."""
    return provider.get_tracer("pgaudit", sys.modules["pgaudit"].__version__)
