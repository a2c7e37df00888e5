"""Binds the actor, tenant and context that the events of a request or block have in common."""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from pgaudit._log import warn_once
from pgaudit.errors import NotInRequest
from pgaudit.events import Actor, AuditContext, AuditEvent
from pgaudit.recording.actor import Found, named
from pgaudit.recording.suspension import is_suspended_with_its_generator

LEFT_ELSEWHERE: Final = (
    "bind() was left in another context than it was entered in: events recorded in between may lack its values. "
    "This happens in a generator that is closed late, and in a plain `def` dependency of FastAPI without middleware. "
    "Add pgaudit.middleware.AsgiMiddleware: with it bind() and pgaudit.identify(actor=...) reach the whole request"
)


class Scope:
    """The actor, tenant and context that one ``bind`` sets."""

    def __init__(self, values: AuditEvent) -> None:
        self.actor = values.actor
        self.tenant = values.tenant
        self.context = fields_of(values.context)

    def find_actor(self) -> Actor | None:
        """Returns the actor, as far as it is known without waiting."""
        return self.actor


class Request(Scope):
    """The outermost scope of a request, which all its threads and tasks share.

    :param lookup: finds the actor when an event is recorded, unless ``identify`` has named one.
    :param lookup_async: does so for ``record_async``; ``lookup`` when left out.
    """

    def __init__(
        self,
        context: Mapping[str, str],
        lookup: Callable[[], Found] | None = None,
        lookup_async: Callable[[], Awaitable[Found]] | None = None,
    ) -> None:
        super().__init__(checked(**context))
        self._lookup = lookup
        self._lookup_async = lookup_async
        self.suspended: list[Scope] = []  # of generators that continue in another context (recording/suspension.py)

    def find_actor(self) -> Actor | None:
        return self.actor or (named(self._lookup()) if self._lookup else None)

    async def find_actor_async(self) -> Actor | None:
        """``find_actor`` without blocking the event loop."""
        return named(await self._lookup_async()) if self._lookup_async else self.find_actor()

    @contextmanager
    def serving(self) -> Generator[None]:
        """Lets events recorded in the block belong to this request, and to nothing that was bound before."""
        token = _scopes.set((self,))
        try:
            yield
        finally:
            _scopes.reset(token)


# Never a session setting in Postgres: a SET pins a pooled connection.
_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("pgaudit.scopes", default=())  # the innermost is the last


@contextmanager
def bind(*, actor: Actor | str | None = None, tenant: str | None = None, **context: str | None) -> Generator[None]:
    """Binds actor, tenant and context: events recorded in the block take what they leave unset. Inner blocks win.

    >>> with bind(actor="user:42", request_id="r-1"):
    ...     with_bound_context(AuditEvent(action="claim.approved")).actor.id
    '42'

    In a request with one of the middlewares, what a plain ``def`` dependency of FastAPI binds is bound in the endpoint,
    too. A new thread starts with nothing bound, unless it runs in ``contextvars.copy_context()``.

    :param context: fields of :class:`~pgaudit.AuditContext`, such as ``request_id``.
    :raises InvalidEvent: a value cannot be recorded, or there is no such field.
    """
    scope = Scope(checked(actor, tenant, **context))
    request = _current_request()
    if request and is_suspended_with_its_generator():
        request.suspended.append(scope)
    else:
        _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        _leave(scope, request)


def identify_request(actor: Actor | str | None, tenant: str | None, **context: str | None) -> None:
    """Names the actor, tenant or context of the current request: see ``pgaudit.identify``."""
    request = _current_request()
    if request is None:
        raise NotInRequest(
            "identify() names the actor of a request, and no middleware of pgaudit serves one here: install it (see "
            "pgaudit.middleware), or use `with bind(actor=...):` in commands, jobs and threads of your own"
        )
    given = checked(tenant=tenant, **context)
    request.actor = named(actor) or request.actor
    request.tenant = given.tenant or request.tenant
    request.context = request.context | fields_of(given.context)


def with_bound_context(
    event: AuditEvent, trace: Mapping[str, str] | None = None, *, look_up: bool = True
) -> AuditEvent:
    """Returns the event with what is bound, where the event leaves it unset.

    :param trace: ``trace_id`` and ``span_id`` that it is recorded in.
    :param look_up: whether to ask the request for its actor; False after ``with_awaited_actor``, which has done so.
    """
    scopes = _open_scopes()[::-1]
    if not (scopes or trace):
        return event
    bound = {name: value for scope in reversed(scopes) for name, value in scope.context.items()}
    context = _merge_context(bound, trace or {}, fields_of(event.context))
    actors = (scope.find_actor() if look_up else scope.actor for scope in scopes)
    return event.model_copy(
        update={
            "actor": event.actor or next(filter(None, actors), None),
            "tenant": event.tenant or next((scope.tenant for scope in scopes if scope.tenant), None),
            "context": AuditContext(**context) if context else None,
        },
    )


async def with_awaited_actor(events: Sequence[AuditEvent]) -> Sequence[AuditEvent]:
    """Returns the events with the actor of their request, where it has to be awaited."""
    scopes, request = _open_scopes(), _current_request()
    if request is None or any(scope.actor for scope in scopes) or all(event.actor for event in events):
        return events
    found = await request.find_actor_async()
    return [event.model_copy(update={"actor": event.actor or found}) for event in events]


def checked(actor: Actor | str | None = None, tenant: str | None = None, **context: str | None) -> AuditEvent:
    """Returns an event of these values, which checks what other events will inherit."""
    return AuditEvent(action="context.bound", actor=actor, tenant=tenant, context=AuditContext(**context))


def fields_of(context: AuditContext | None) -> dict[str, str]:
    """Returns the fields of a context that are set."""
    return context.model_dump(exclude_none=True) if context else {}


def _current_request() -> Request | None:
    """Returns the request that this context belongs to; None outside of the middlewares."""
    scopes = _scopes.get()
    return scopes[0] if scopes and isinstance(scopes[0], Request) else None


def _open_scopes() -> tuple[Scope, ...]:
    """Returns the scopes that are open in this context, from the request to the innermost block."""
    scopes, request = _scopes.get(), _current_request()
    return (request, *request.suspended, *scopes[1:]) if request else scopes


def _leave(scope: Scope, request: Request | None) -> None:
    """Ends a ``bind``, but no later one, which may belong to another request."""
    if request and scope in request.suspended:
        request.suspended.remove(scope)
        return
    scopes = _scopes.get()
    if scope not in scopes:
        warn_once(LEFT_ELSEWHERE)
    _scopes.set(tuple(other for other in scopes if other is not scope))


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
