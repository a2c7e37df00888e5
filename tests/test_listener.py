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

EVENTS = "SELECT event FROM pgaudit.audit_jobs ORDER BY id"


def recorded(conn: psycopg.Connection) -> list[dict[str, Any]]:
    """The events that this transaction sees in the queue."""
    return [event for (event,) in conn.execute(EVENTS)]


def test_an_error_in_recording_reaches_the_sender(dsn: str, settings: Settings) -> None:
    """With PGAUDIT_ON_FAILURE=raise there is no change without its event, signals included."""
    signal = Signal()
    AuditListener(AuditLog(settings), {signal: "claim.approved"}, target_type="claim")
    with psycopg.connect(dsn, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            signal.send(conn=conn, claim_id=7)
        with pytest.raises(InvalidEvent, match="data"):
            signal.send(conn=conn, claim_id=7, odd=object())


def test_django_signals_work(conn: psycopg.Connection, settings: Settings) -> None:
    """Django names sender and signal among the arguments; neither is data."""
    policy_renewed = DjangoSignal()
    AuditListener(AuditLog(settings), {policy_renewed: "policy.renewed"}, target_type="policy")
    policy_renewed.send(sender=object, conn=conn, policy_id=9, actor="service:renewals")
    (event,) = recorded(conn)
    assert event["actor"] == {"type": "service", "id": "renewals"}
    assert event["targets"] == [{"type": "policy", "id": "9"}]
    assert "data" not in event


class Emitter:
    """The smallest of event emitters."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[..., Any]]] = defaultdict(list)

    def on(self, event: str, f: Callable[..., Any]) -> None:
        """Keeps the handler."""
        self._handlers[event].append(f)

    def emit(self, event: str, **payload: Any) -> None:
        """Calls every handler of that name."""
        for handler in self._handlers[event]:
            handler(**payload)


def test_an_emitter_with_on_works(conn: psycopg.Connection, settings: Settings) -> None:
    """Names of events stand for actions, as signals do."""
    emitter = Emitter()
    AuditListener(AuditLog(settings), {"claimApproved": "claim.approved"}, target_type="claim").listen(emitter)
    emitter.emit("claimApproved", conn=conn, target="claim:7")
    assert [event["action"] for event in recorded(conn)] == ["claim.approved"]


@pytest.mark.parametrize("sent", [{"claim": 7}, {"clam_id": 7}, {"claim_id": None}, {"target": None}, {}])
def test_a_signal_without_its_target_is_refused(
    conn: psycopg.Connection, settings: Settings, sent: dict[str, Any]
) -> None:
    """A slip of the pen would else record an approval of nothing."""
    approved = Signal()
    AuditListener(AuditLog(settings), {approved: "claim.approved"}, target_type="claim")
    says = r"claim\.approved was sent without its target: send\(conn=conn, claim_id=\.\.\.\), or target="
    with pytest.raises(InvalidEvent, match=says):
        approved.send(conn=conn, user_id=42, **sent)
    assert recorded(conn) == []


def test_a_listener_without_a_type_of_targets_needs_none(conn: psycopg.Connection, settings: Settings) -> None:
    """What happens need not happen to something."""
    closed = Signal()
    AuditListener(AuditLog(settings), {closed: "books.closed"})
    closed.send(conn=conn, None_id=7)
    (event,) = recorded(conn)
    assert "targets" not in event
    assert event["data"] == {"None_id": 7}


@pytest.mark.parametrize("make_signal", [Signal, DjangoSignal])
def test_a_listener_made_again_takes_the_place_of_the_first(
    conn: psycopg.Connection, settings: Settings, make_signal: Callable[[], Any]
) -> None:
    """A factory that makes the application twice in a process does not record everything twice."""
    renewed, lapsed = make_signal(), make_signal()
    both = {renewed: "policy.renewed", lapsed: "policy.lapsed"}
    first = AuditListener(AuditLog(settings), both, target_type="policy")
    second = AuditListener(AuditLog(Settings(dsn=settings.dsn)), {renewed: "policy.renewed"}, target_type="policy")
    for signal in both:
        signal.send(sender=None, conn=conn, policy_id=7)
    assert [event["action"] for event in recorded(conn)] == ["policy.renewed", "policy.lapsed"]
    first.disconnect()
    for signal in both:
        signal.send(sender=None, conn=conn, policy_id=8)
    assert [event["action"] for event in recorded(conn)][2:] == ["policy.renewed"]
    second.disconnect()
    renewed.send(sender=None, conn=conn, policy_id=9)
    assert len(recorded(conn)) == 3


def test_listeners_that_differ_both_listen(conn: psycopg.Connection, settings: Settings) -> None:
    """Two actions, two classes."""

    class Another(AuditListener):
        """A listener of the application's."""

    renewed, audit = Signal(), AuditLog(settings)
    AuditListener(audit, {renewed: "policy.renewed"})
    AuditListener(audit, {renewed: "policy.billed"})
    Another(audit, {renewed: "policy.renewed"})
    renewed.send(conn=conn)
    actions = sorted(event["action"] for event in recorded(conn))
    assert actions == ["policy.billed", "policy.renewed", "policy.renewed"]


def test_a_signal_is_not_kept_alive_by_its_listener(settings: Settings) -> None:
    """What is known of it goes with it."""
    renewed = Signal()
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    alive = weakref.ref(renewed)
    del renewed
    gc.collect()
    assert alive() is None
