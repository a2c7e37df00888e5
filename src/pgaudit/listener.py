"""Events of an application's own event bus, recorded in the transaction of whoever sends them."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pgaudit.events import AuditEvent
from pgaudit.recorder import AuditLog


class Signal(Protocol):
    """A blinker or Django signal."""

    def connect(self, receiver: Callable[..., Any], *, weak: bool) -> Any:
        """Calls the receiver whenever the signal is sent."""

    def disconnect(self, receiver: Callable[..., Any]) -> Any:
        """Stops that."""


class Emitter(Protocol):
    """An event emitter, such as pyee's."""

    def on(self, event: str, f: Callable[..., Any]) -> Any:
        """Calls the handler whenever that event is emitted."""


class AuditListener:
    """Turns signals into audit events.

    >>> AuditListener(audit, {policy_renewed: "policy.renewed"}, target_type="policy")
    >>> policy_renewed.send(conn=conn, policy_id=7, user_id=42, premium="120.00")

    Of what is sent, ``conn`` is the sender's connection, ``user_id`` or ``actor`` who did it,
    ``{target_type}_id`` or ``target`` what it was done to; the rest is the event's ``data``.
    Recording follows ``PGAUDIT_ON_FAILURE``: when it raises, it raises in the sender.

    :param actions: the action that each signal, or each name of an emitter's event, stands for.
    """

    def __init__(self, audit: AuditLog, actions: Mapping[Any, str], *, target_type: str | None = None) -> None:
        self._audit = audit
        self._target_type = target_type
        self._names = {source: action for source, action in actions.items() if isinstance(source, str)}
        self._connected: list[tuple[Signal, Callable[..., None]]] = [
            (source, self.handler(action)) for source, action in actions.items() if not isinstance(source, str)
        ]
        for signal, handler in self._connected:
            signal.connect(handler, weak=False)

    def disconnect(self) -> None:
        """Stops listening to the signals."""
        for signal, handler in self._connected:
            signal.disconnect(handler)

    def listen(self, emitter: Emitter) -> None:
        """Listens to an emitter with ``.on(name, handler)`` for the names among the actions."""
        for name, action in self._names.items():
            emitter.on(name, self.handler(action))

    def handler(self, action: str) -> Callable[..., None]:
        """A receiver that records that action. Blinker passes the sender by place, Django by name."""

        def record(_sender: object = None, *, conn: object, **payload: Any) -> None:
            for name in ("sender", "signal"):
                payload.pop(name, None)
            self._audit.record(conn, event_of(action, self._target_type, payload))

        return record


def event_of(action: str, target_type: str | None, payload: dict[str, Any]) -> AuditEvent:
    """The event of what a signal was sent with."""
    user = payload.pop("user_id", None)
    actor = payload.pop("actor", None if user is None else f"user:{user}")
    identity = payload.pop(f"{target_type}_id", None)
    target = payload.pop("target", None if identity is None else f"{target_type}:{identity}")
    return AuditEvent(action=action, actor=actor, targets=() if target is None else (target,), data=payload)
