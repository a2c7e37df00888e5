"""What the events of one request have in common."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pgaudit.events import Actor, AuditContext, AuditEvent

# Never a session setting in Postgres: a SET pins a pooled connection.
_bound: ContextVar[dict[str, Any]] = ContextVar("pgaudit.bound")


@contextmanager
def bind(*, actor: Actor | str | None = None, tenant: str | None = None, **context: str | None) -> Generator[None]:
    """Binds actor, tenant and context: events recorded in the block take what they leave unset. Inner blocks win.

    >>> with bind(actor="user:42", request_id="r-1"):
    ...     with_bound_context(AuditEvent(action="claim.approved")).actor.id
    '42'

    :param context: fields of :class:`~pgaudit.AuditContext`, such as ``request_id``.
    :raises InvalidEvent: a value cannot be recorded, or there is no such field.
    """
    # An event is what checks the values that events will inherit.
    given = AuditEvent(action="context.bound", actor=actor, tenant=tenant, context=AuditContext(**context))
    values = {"actor": given.actor, "tenant": given.tenant, **fields_of(given.context)}
    token = _bound.set(_bound.get({}) | {name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        _bound.reset(token)


def with_bound_context(event: AuditEvent, trace: Mapping[str, str] | None = None) -> AuditEvent:
    """Returns the event with what is bound, where the event leaves it unset.

    :param trace: ``trace_id`` and ``span_id`` that it is recorded in.
    """
    bound = _bound.get({})
    if not (bound or trace):
        return event
    context = {name: value for name, value in bound.items() if name not in {"actor", "tenant"}}
    context = _merge_context(context, trace or {}, fields_of(event.context))
    return event.model_copy(
        update={
            "actor": event.actor or bound.get("actor"),
            "tenant": event.tenant or bound.get("tenant"),
            "context": AuditContext(**context) if context else None,
        },
    )


def _merge_context(bound: dict[str, str], trace: Mapping[str, str], own: dict[str, str]) -> dict[str, str]:
    """Returns the fields of a context: its own, else what is bound, else the trace. Never a span of another trace."""
    trace_id = own.get("trace_id") or bound.get("trace_id") or trace.get("trace_id")
    inherited = bound.copy()
    # The trace that a request came with is kept. Where it goes on here, our span is nearer than the caller's.
    if trace_id == trace.get("trace_id"):
        inherited |= trace
    if inherited.get("trace_id") != trace_id:
        inherited.pop("span_id", None)
    return inherited | own


def fields_of(context: AuditContext | None) -> dict[str, str]:
    """Returns the fields of a context that are set."""
    return context.model_dump(exclude_none=True) if context else {}
