"""Listeners that record an application's own signals."""

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from blinker import Signal
from django.dispatch import Signal as DjangoSignal

from pgaudit import AuditLog, InvalidEvent, NotInTransaction, Settings
from pgaudit.listener import AuditListener
from tests.support.jobs import queued_events


def test_an_error_in_recording_reaches_the_sender(dsn: str, settings: Settings) -> None:
    """With PGAUDIT_ON_FAILURE=raise, sending a signal fails when its event cannot be recorded."""
    signal = Signal()
    AuditListener(AuditLog(settings), {signal: "claim.approved"}, target_type="claim")
    with psycopg.connect(dsn, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            signal.send(conn=conn, claim_id=7)
        with pytest.raises(InvalidEvent, match="data"):
            signal.send(conn=conn, claim_id=7, odd=object())


def test_a_django_signal_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """The sender and signal arguments of Django are no data of the event."""
    policy_renewed = DjangoSignal()
    AuditListener(AuditLog(settings), {policy_renewed: "policy.renewed"}, target_type="policy")
    policy_renewed.send(sender=object, conn=conn, policy_id=9, actor="service:renewals")
    (event,) = queued_events(conn)
    assert event["actor"] == {"type": "service", "id": "renewals"}
    assert event["targets"] == [{"type": "policy", "id": "9"}]
    assert "data" not in event


class Emitter:
    """A minimal event emitter."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[..., Any]]] = defaultdict(list)

    def on(self, event: str, f: Callable[..., Any]) -> None:
        """Registers the handler."""
        self._handlers[event].append(f)

    def emit(self, event: str, **payload: Any) -> None:
        """Calls every handler of that name."""
        for handler in self._handlers[event]:
            handler(**payload)


def test_an_event_of_an_emitter_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """listen() registers a handler for each name of an event with an emitter that has on()."""
    emitter = Emitter()
    AuditListener(AuditLog(settings), {"claimApproved": "claim.approved"}, target_type="claim").listen(emitter)
    emitter.emit("claimApproved", conn=conn, target="claim:7")
    assert [event["action"] for event in queued_events(conn)] == ["claim.approved"]


@pytest.mark.parametrize("sent", [{"claim": 7}, {"clam_id": 7}, {"claim_id": None}, {"target": None}, {}])
def test_a_signal_without_its_target_is_refused(
    conn: psycopg.Connection, settings: Settings, sent: dict[str, Any]
) -> None:
    """A misspelled or missing target argument does not record an approval without a target."""
    approved = Signal()
    AuditListener(AuditLog(settings), {approved: "claim.approved"}, target_type="claim")
    says = r"claim\.approved was sent without its target: send\(conn=conn, claim_id=\.\.\.\), or target="
    with pytest.raises(InvalidEvent, match=says):
        approved.send(conn=conn, user_id=42, **sent)
    assert queued_events(conn) == []


def test_a_listener_without_a_target_type_needs_no_target(conn: psycopg.Connection, settings: Settings) -> None:
    """A listener without target_type records events without a target."""
    closed = Signal()
    AuditListener(AuditLog(settings), {closed: "books.closed"})
    closed.send(conn=conn, None_id=7)
    (event,) = queued_events(conn)
    assert "targets" not in event
    assert event["data"] == {"None_id": 7}


@pytest.mark.parametrize("make_signal", [Signal, DjangoSignal])
def test_a_second_listener_replaces_the_first(
    conn: psycopg.Connection, settings: Settings, make_signal: Callable[[], Any]
) -> None:
    """An application that is created twice in a process records each signal once."""
    renewed, lapsed = make_signal(), make_signal()
    both = {renewed: "policy.renewed", lapsed: "policy.lapsed"}
    first = AuditListener(AuditLog(settings), both, target_type="policy")
    second = AuditListener(AuditLog(Settings(dsn=settings.dsn)), {renewed: "policy.renewed"}, target_type="policy")
    for signal in both:
        signal.send(sender=None, conn=conn, policy_id=7)
    assert [event["action"] for event in queued_events(conn)] == ["policy.renewed", "policy.lapsed"]
    first.disconnect()
    for signal in both:
        signal.send(sender=None, conn=conn, policy_id=8)
    assert [event["action"] for event in queued_events(conn)][2:] == ["policy.renewed"]
    second.disconnect()
    renewed.send(sender=None, conn=conn, policy_id=9)
    assert len(queued_events(conn)) == 3


def test_listeners_with_other_actions_or_classes_both_record(conn: psycopg.Connection, settings: Settings) -> None:
    """Listeners of one signal are independent if they differ in action or class."""

    class Another(AuditListener):
        """A listener class of the application."""

    renewed, audit = Signal(), AuditLog(settings)
    AuditListener(audit, {renewed: "policy.renewed"})
    AuditListener(audit, {renewed: "policy.billed"})
    Another(audit, {renewed: "policy.renewed"})
    renewed.send(conn=conn)
    actions = sorted(event["action"] for event in queued_events(conn))
    assert actions == ["policy.billed", "policy.renewed", "policy.renewed"]


def test_a_signal_is_not_kept_alive_by_its_listener(settings: Settings) -> None:
    """A listener holds only a weak reference to its signals."""
    renewed = Signal()
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    alive = weakref.ref(renewed)
    del renewed
    gc.collect()
    assert alive() is None
