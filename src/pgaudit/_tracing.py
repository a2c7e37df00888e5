"""Spans of OpenTelemetry, in an application that uses it.

``pgaudit.record`` belongs to the trace that the application is in, and its ids go into the events. By them
``pgaudit.persist``, one span for a batch, is linked to the spans that its events come from.

OpenTelemetry's API is the extra ``otel``. Without it there is no span; with it, but without an SDK, there is none
either. It is imported when the first ``AuditLog`` is made, because it takes 30 ms that ``import pgaudit`` should not.
As with signals, a span holds nothing of an event but how many there are, nor an error's message that may quote one.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pgaudit._db_errors import safe_summary

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

# Names of OpenTelemetry's semantic conventions for messaging; the destination is the queue.
ATTRIBUTES: Final = {"messaging.system": "pgaudit", "messaging.destination.name": "audit"}
COUNT: Final = "messaging.batch.message_count"
RECORD: Final = {"messaging.operation.name": "record", "messaging.operation.type": "send"}
PERSIST: Final = {"messaging.operation.name": "persist", "messaging.operation.type": "process"}
# OpenTelemetry would add the error's message to the span, which may quote an event.
NO_AUTO_EXCEPTION: Final[Mapping[str, Any]] = {"record_exception": False, "set_status_on_exception": False}


@cache
def is_installed() -> bool:
    """Returns whether OpenTelemetry's API is installed, and imports it."""
    try:
        import_module("opentelemetry.trace")
    except ModuleNotFoundError:
        return False
    return True


def can_export() -> bool:
    """Returns whether spans can be exported: the API alone drops them."""
    if not is_installed():
        return False
    from opentelemetry.trace import NoOpTracer, ProxyTracer

    return not isinstance(tracer(), NoOpTracer | ProxyTracer)


@contextmanager
def record_span(count: int) -> Generator[None]:
    """Makes a span for recording that many events the current one, if spans can be exported; none for zero events."""
    if not count or not can_export():
        yield
        return
    from opentelemetry.trace import SpanKind

    attributes = ATTRIBUTES | RECORD | {COUNT: count}
    span = tracer().start_as_current_span(
        "pgaudit.record", kind=SpanKind.PRODUCER, attributes=attributes, **NO_AUTO_EXCEPTION
    )
    with span, record_errors():
        yield


@contextmanager
def persist_span(start: int, count: int | None = None, traces: Sequence[str] | None = None) -> Generator[None]:
    """Makes a span for a batch the current one, if spans can be exported. It may begin when the batch is known.

    :param start: when the work on it began, in nanoseconds of the epoch.
    :param count: how many jobs it took; None if that was never known.
    :param traces: the W3C traceparents of its events.
    """
    if not can_export():
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
        **NO_AUTO_EXCEPTION,
    )
    with span, record_errors():
        yield


@contextmanager
def record_errors() -> Generator[None]:
    """Records an error that is raised inside as the current span's."""
    try:
        yield
    except Exception as error:
        record_error(error)
        raise


def record_error(error: Exception) -> None:
    """Ends the current span with an error, if the span is ours."""
    if can_export() and (span := current_span()):
        span.set_attribute("error.type", type(error).__name__)
        set_error_status(span, safe_summary(error))


def record_job_failure(job: int, error_class: str, sqlstate: str | None) -> None:
    """Adds to the current span that a job of its batch was not persisted."""
    if can_export() and (span := current_span()):
        span.add_event("exception", {"pgaudit.job_id": job, "exception.type": error_class, "sqlstate": sqlstate or ""})
        set_error_status(span, "not all jobs were persisted")


def current_ids() -> dict[str, str]:
    """Returns ``trace_id`` and ``span_id`` of the current span; an empty mapping without one."""
    span = current_span()
    if span is None or not (context := span.get_span_context()).is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def current_span() -> "Span | None":
    """Returns the current span, recording or not."""
    if not is_installed():
        return None
    from opentelemetry.trace import get_current_span

    return get_current_span()


def set_error_status(span: "Span", description: str) -> None:
    """Sets the status of a span to an error with that description."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, description)


def link_to(traceparent: str) -> "Link":
    """Returns a link to the span that a traceparent names."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    _, trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-"))
    return Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags)))


def tracer() -> "Tracer":
    """Returns our tracer of the current provider."""
    from opentelemetry.trace import get_tracer_provider

    return tracer_of(get_tracer_provider())


@lru_cache(maxsize=1)  # some providers make a new one each time
def tracer_of(provider: "TracerProvider") -> "Tracer":
    """Returns our tracer of a provider."""
    return provider.get_tracer("pgaudit", sys.modules["pgaudit"].__version__)
