"""What the events of one request have in common."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pgaudit.events import Actor, AuditContext, AuditEvent

# Never a session setting in Postgres: a SET pins a pooled connection.
_bound: ContextVar[dict[str, Any]] = ContextVar("pgaudit.bound")


@contextmanager
def bind(*, actor: Actor | str | None = None, tenant: str | None = None, **context: str | None) -> Generator[None]:
    """Gives every event recorded inside what it leaves unset; what is bound further in wins.

    >>> with bind(actor="user:42", request_id="r-1"):
    ...     inherit(AuditEvent(action="claim.approved")).actor.id
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


def inherit(event: AuditEvent) -> AuditEvent:
    """The event with what is bound, wherever it left that unset."""
    bound = _bound.get({})
    if not bound:
        return event
    context = {name: value for name, value in bound.items() if name not in {"actor", "tenant"}}
    context |= fields_of(event.context)
    return event.model_copy(
        update={
            "actor": event.actor or bound.get("actor"),
            "tenant": event.tenant or bound.get("tenant"),
            "context": AuditContext(**context) if context else None,
        },
    )


def fields_of(context: AuditContext | None) -> dict[str, str]:
    """The fields of a context that are set."""
    return context.model_dump(exclude_none=True) if context else {}
