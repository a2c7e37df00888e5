"""Signals of an application's own event bus, recorded as events in the sender's transaction."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from pgaudit.errors import InvalidEvent, UnknownConnection
from pgaudit.events import AuditEvent
from pgaudit.recording.audit_log import AuditLog


class _Signal(Protocol):
    """A blinker or Django signal."""

    def connect(self, receiver: Callable[..., Any], *, weak: bool) -> Any:
        """Calls the receiver whenever the signal is sent."""

    def disconnect(self, receiver: Callable[..., Any]) -> Any:
        """Stops that."""


class _Emitter(Protocol):
    """An event emitter, such as pyee's."""

    def on(self, event: str, f: Callable[..., Any]) -> Any:
        """Calls the handler whenever that event is emitted."""


# Where Django's own signals are.
DJANGO: Final = (
    "django.contrib.auth.signals",
    "django.core.signals",
    "django.db.backends.signals",
    "django.db.models.signals",
)
Handler = Callable[..., object]
# A class of listeners and an action: of one place, a signal is heard once.
_HandlerKey = tuple[type, str]
_handlers: Final[WeakKeyDictionary[_Signal, dict[_HandlerKey, Handler]]] = WeakKeyDictionary()  # keeps no signal alive


@dataclass(frozen=True, eq=False, slots=True)
class _Receiver:
    """What a signal calls. Blinker passes the sender by place, Django by name."""

    audit: AuditLog
    action: str
    target_type: str | None

    def record(self, _sender: object = None, /, **payload: Any) -> None:
        """Records the action in the transaction of a synchronous connection."""
        self.audit.record(self._connection(payload), self._event(payload))

    async def record_async(self, _sender: object = None, /, **payload: Any) -> None:
        """``record`` for asynchronous connections."""
        await self.audit.record_async(self._connection(payload), self._event(payload))

    def _connection(self, payload: dict[str, Any]) -> object:
        if "conn" in payload:
            return payload.pop("conn")
        django = sys.modules.get("django.db")
        if django is None or "using" not in payload:
            raise UnknownConnection(f"{self.action} was sent without the sender's connection: send(conn=conn, ...)")
        return django.connections[payload.pop("using")]

    def _event(self, payload: dict[str, Any]) -> AuditEvent:
        for name in ("sender", "signal"):
            payload.pop(name, None)
        return _event_of(self.action, self.target_type, payload)


class AuditListener:
    """Turns signals into audit events.

    >>> AuditListener(audit, {policy_renewed: "policy.renewed"}, target_type="policy")
    >>> policy_renewed.send(conn=conn, policy_id=7, user_id=42, premium="120.00")

    Of what is sent, ``conn`` is the sender's connection, or ``using`` the alias of Django's, ``user_id`` or ``actor``
    who did it, ``{target_type}_id`` or ``target`` what it was done to; the rest is the event's ``data``.
    With a ``target_type``, a signal without its target is refused with InvalidEvent.
    Recording follows ``PGAUDIT_ON_FAILURE``: when it raises, it raises in the sender.

    A signal is recorded once per action: a second listener of the same class, for the same signal and action, takes
    the place of the first. An application may be made twice in a process, as tests do.

    A blinker signal is sent one way, with ``send`` to synchronous receivers or with ``send_async`` to asynchronous
    ones: an ``AsyncAuditListener``. Where one signal has to go both ways, :func:`await_in_loop` lets it.

    :param actions: the action that each signal, or each name of an emitter's event, stands for.
    :raises UnknownConnection: a signal is one of Django's own, which carry neither a connection nor an event.
    """

    def __init__(self, audit: AuditLog, actions: Mapping[Any, str], *, target_type: str | None = None) -> None:
        self._audit = audit
        self._target_type = target_type
        self._names = {source: action for source, action in actions.items() if isinstance(source, str)}
        self._connected: list[tuple[_Signal, _HandlerKey, Handler]] = [
            (source, (type(self), action), self.handler(action))
            for source, action in actions.items()
            if not isinstance(source, str)
        ]
        for signal, _, _ in self._connected:
            _refuse_signal_of_django(signal)
        for signal, place, handler in self._connected:
            _connect(signal, place, handler)

    def disconnect(self) -> None:
        """Stops listening to the signals, except where another listener has taken its place."""
        for signal, place, handler in self._connected:
            if _handlers.get(signal, {}).get(place) is handler:
                signal.disconnect(_handlers[signal].pop(place))

    def listen(self, emitter: _Emitter) -> None:
        """Listens to an emitter with ``.on(name, handler)`` for the names among the actions."""
        for name, action in self._names.items():
            emitter.on(name, self.handler(action))

    def handler(self, action: str) -> Handler:
        """A receiver that records that action."""
        return _Receiver(self._audit, action, self._target_type).record


class AsyncAuditListener(AuditListener):
    """``AuditListener`` for asynchronous connections, and for signals whose sender awaits the receivers.

    >>> AsyncAuditListener(audit, {policy_renewed: "policy.renewed"}, target_type="policy")
    >>> async def renew(conn):
    ...     await policy_renewed.send_async(conn=conn, policy_id=7, user_id=42)  # with Django: asend

    An emitter has to await its handlers, too: one that makes tasks of them, as pyee does, goes on before the event is
    recorded, and the transaction may be over by then.
    """

    def handler(self, action: str) -> Callable[..., Coroutine[Any, Any, None]]:
        return _Receiver(self._audit, action, self._target_type).record_async


def _connect(signal: _Signal, place: _HandlerKey, handler: Handler) -> None:
    """Connects the handler to a signal, in place of the handler that was connected for it before."""
    handlers = _handlers.setdefault(signal, {})
    if place in handlers:
        signal.disconnect(handlers[place])
    handlers[place] = handler
    signal.connect(handler, weak=False)


def _refuse_signal_of_django(signal: object) -> None:
    """Raises UnknownConnection for a signal that Django itself sends: better now than in the middle of a login."""
    modules = [module for name in DJANGO if (module := sys.modules.get(name))]
    names = [name for module in modules for name, value in vars(module).items() if value is signal]
    if names:
        raise UnknownConnection(
            f"{names[0]} is sent by Django without what an event needs: "
            "write a receiver that calls audit.record(connections[using], AuditEvent(...)); pgaudit.django has some: "
            "PGAUDIT = {'LOGINS': True, 'PERMISSIONS': True}"
        )


def await_in_loop(receiver: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Returns a ``_sync_wrapper`` with which blinker's ``send_async`` reaches an AuditListener.

    >>> AuditListener(audit, {policy_renewed: "policy.renewed"}, target_type="policy")
    >>> async def renew(conn):
    ...     await policy_renewed.send_async(conn=conn, policy_id=7, _sync_wrapper=await_in_loop)

    The listener records with ``record_async``; other synchronous receivers are called as they are, in the event loop.
    """
    owner = getattr(receiver, "__self__", None)
    if isinstance(owner, _Receiver):
        return owner.record_async

    async def call(*arguments: Any, **payload: Any) -> Any:
        return receiver(*arguments, **payload)

    return call


def _event_of(action: str, target_type: str | None, payload: dict[str, Any]) -> AuditEvent:
    """Returns the event of what a signal was sent with.

    :raises InvalidEvent: it has no target, and should have one.
    """
    user = payload.pop("user_id", None)
    actor = payload.pop("actor", None if user is None else f"user:{user}")
    identity = payload.pop(f"{target_type}_id", None) if target_type else None
    target = payload.pop("target", None if identity is None else f"{target_type}:{identity}")
    if target_type and target is None:
        raise InvalidEvent(
            f"{action} was sent without its target: send(conn=conn, {target_type}_id=...), or target=...; "
            f"what it was sent with: {', '.join(payload) or 'nothing else'}"
        )
    return AuditEvent(action=action, actor=actor, targets=() if target is None else (target,), data=payload)
