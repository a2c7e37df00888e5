"""The vocabulary of claims, and listeners to an application's own event bus."""

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from blinker import Signal
from django.dispatch import Signal as DjangoSignal

from pgaudit import AuditLog, InvalidEvent, NotInTransaction, Settings, UnknownConnection
from pgaudit.claims import (
    ClaimAction,
    ClaimAudit,
    ClaimAuditListener,
    PolicyAction,
    claim_approved,
    claim_rejected,
    claim_settled,
    claim_submitted,
)
from pgaudit.listener import AuditListener

EVENTS = "SELECT event FROM pgaudit.audit_jobs ORDER BY id"


def recorded(conn: psycopg.Connection) -> list[dict[str, Any]]:
    """The events that this transaction sees in the queue."""
    return [event for (event,) in conn.execute(EVENTS)]


def test_an_action_on_a_claim_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """Who, what, to which claim, with what data."""
    ClaimAudit(AuditLog(settings)).log_action(conn, 42, 7, ClaimAction.APPROVE, {"approval_amount": 1000})
    (event,) = recorded(conn)
    assert (event["action"], event["actor"]["id"], event["data"]) == ("claim.approved", "42", {"approval_amount": 1000})
    assert event["targets"] == [{"type": "claim", "id": "7"}]


@pytest.mark.anyio
async def test_the_async_twins_record_the_same(dsn: str, settings: Settings) -> None:
    """Claims and policies, through an asynchronous connection."""
    audit = ClaimAudit(AuditLog(settings))
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await audit.log_action_async(conn, 42, 7, ClaimAction.SETTLE)
        await audit.log_policy_change_async(conn, 42, 9, PolicyAction.RENEW, {"premium": "120.00"})
    with psycopg.connect(dsn) as check:
        assert [(event["action"], event["targets"][0]["type"]) for event in recorded(check)] == [
            ("claim.settled", "claim"),
            ("policy.renewed", "policy"),
        ]


def test_a_change_of_a_policy_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """The policy is the target."""
    ClaimAudit(AuditLog(settings)).log_policy_change(conn, 42, 9, PolicyAction.CANCEL)
    assert [event["action"] for event in recorded(conn)] == ["policy.cancelled"]


def test_an_action_may_be_named(conn: psycopg.Connection, settings: Settings) -> None:
    """As the string that it stands for."""
    audit = ClaimAudit(AuditLog(settings))
    audit.log_action(conn, 42, 7, "claim.approved")
    audit.log_policy_change(conn, 42, 9, "policy.renewed")
    assert [event["action"] for event in recorded(conn)] == ["claim.approved", "policy.renewed"]


@pytest.mark.anyio
@pytest.mark.parametrize("action", ["approve", "claim.aproved", "policy.issued", PolicyAction.ISSUE, None, 7])
async def test_an_action_outside_the_vocabulary_is_refused(
    conn: psycopg.Connection, settings: Settings, action: Any
) -> None:
    """The message says what is accepted; an action on policies is none on claims."""
    audit = ClaimAudit(AuditLog(settings))
    says = (
        r'is not an action on claims; give a ClaimAction, such as ClaimAction\.SUBMIT, or its value: "claim\.submitted"'
    )
    with pytest.raises(InvalidEvent, match=says):
        audit.log_action(conn, 42, 7, action)
    with pytest.raises(InvalidEvent, match=says):
        await audit.log_action_async(conn, 42, 7, action)


@pytest.mark.anyio
async def test_a_policy_takes_no_action_on_claims(conn: psycopg.Connection, settings: Settings) -> None:
    """The message names the actions on policies."""
    audit = ClaimAudit(AuditLog(settings))
    says = (
        'is not an action on policies; give a PolicyAction, such as PolicyAction.ISSUE, or its value: "policy.issued"'
    )
    with pytest.raises(InvalidEvent, match=says):
        audit.log_policy_change(conn, 42, 9, "claim.approved")
    with pytest.raises(InvalidEvent, match=says):
        await audit.log_policy_change_async(conn, 42, 9, "claim.approved")


@pytest.mark.parametrize(
    ("signal", "action"),
    [
        (claim_submitted, "claim.submitted"),
        (claim_approved, "claim.approved"),
        (claim_rejected, "claim.rejected"),
        (claim_settled, "claim.settled"),
    ],
)
def test_a_claim_signal_is_recorded_by_its_sender(
    conn: psycopg.Connection, settings: Settings, signal: Signal, action: str
) -> None:
    """One line connects the listener; what is sent becomes actor, target and data."""
    listener = ClaimAuditListener(AuditLog(settings))
    signal.send(conn=conn, claim_id=7, user_id=42, amount="1000.00")
    listener.disconnect()
    signal.send(conn=conn, claim_id=8, user_id=42)
    (event,) = recorded(conn)
    assert (event["action"], event["actor"]["id"], event["targets"][0]["id"]) == (action, "42", "7")
    assert event["data"] == {"amount": "1000.00"}
    conn.rollback()
    assert recorded(conn) == []


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
    assert (event["actor"], event["targets"]) == (
        {"type": "service", "id": "renewals"},
        [{"type": "policy", "id": "9"}],
    )
    assert "data" not in event


def test_a_signal_without_a_connection_is_refused(settings: Settings) -> None:
    """The message says how to send it."""
    listener = ClaimAuditListener(AuditLog(settings))
    try:
        with pytest.raises(UnknownConnection, match=r"claim\.approved was sent without .*send\(conn=conn"):
            claim_approved.send(claim_id=7)
    finally:
        listener.disconnect()


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
    assert ("targets" in event, event["data"]) == (False, {"None_id": 7})


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
