"""The vocabulary of claims and policies, and the four claim signals."""

from typing import Any

import psycopg
import pytest
from blinker import Signal

from pgaudit import AuditLog, InvalidEvent, Settings, UnknownConnection
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
from tests.support.jobs import queued_events


def test_an_action_on_a_claim_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """log_action records actor, action, target and data."""
    ClaimAudit(AuditLog(settings)).log_action(conn, 42, 7, ClaimAction.APPROVE, {"approval_amount": 1000})
    (event,) = queued_events(conn)
    assert event["action"] == "claim.approved"
    assert event["actor"]["id"] == "42"
    assert event["data"] == {"approval_amount": 1000}
    assert event["targets"] == [{"type": "claim", "id": "7"}]


@pytest.mark.anyio
async def test_async_methods_record_the_same(dsn: str, settings: Settings) -> None:
    """log_action_async and log_policy_change_async record on an asynchronous connection."""
    audit = ClaimAudit(AuditLog(settings))
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await audit.log_action_async(conn, 42, 7, ClaimAction.SETTLE)
        await audit.log_policy_change_async(conn, 42, 9, PolicyAction.RENEW, {"premium": "120.00"})
    with psycopg.connect(dsn) as check:
        assert [(event["action"], event["targets"][0]["type"]) for event in queued_events(check)] == [
            ("claim.settled", "claim"),
            ("policy.renewed", "policy"),
        ]


def test_a_change_of_a_policy_is_recorded(conn: psycopg.Connection, settings: Settings) -> None:
    """log_policy_change records the policy as target."""
    ClaimAudit(AuditLog(settings)).log_policy_change(conn, 42, 9, PolicyAction.CANCEL)
    assert [event["action"] for event in queued_events(conn)] == ["policy.cancelled"]


def test_an_action_may_be_a_string(conn: psycopg.Connection, settings: Settings) -> None:
    """An action may be given as the string value of its enum."""
    audit = ClaimAudit(AuditLog(settings))
    audit.log_action(conn, 42, 7, "claim.approved")
    audit.log_policy_change(conn, 42, 9, "policy.renewed")
    assert [event["action"] for event in queued_events(conn)] == ["claim.approved", "policy.renewed"]


@pytest.mark.anyio
@pytest.mark.parametrize("action", ["approve", "claim.aproved", "policy.issued", PolicyAction.ISSUE, None, 7])
async def test_an_action_outside_the_vocabulary_is_refused(
    conn: psycopg.Connection, settings: Settings, action: Any
) -> None:
    """The message says what is accepted; an action on policies is not accepted for claims."""
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
    """An action on claims is refused for a policy, and the message names the actions on policies."""
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
def test_a_claim_signal_is_recorded_in_the_senders_transaction(
    conn: psycopg.Connection, settings: Settings, signal: Signal, action: str
) -> None:
    """What is sent becomes actor, target and data; a rollback takes the event back."""
    listener = ClaimAuditListener(AuditLog(settings))
    signal.send(conn=conn, claim_id=7, user_id=42, amount="1000.00")
    listener.disconnect()
    signal.send(conn=conn, claim_id=8, user_id=42)
    (event,) = queued_events(conn)
    assert event["action"] == action
    assert event["actor"]["id"] == "42"
    assert event["targets"][0]["id"] == "7"
    assert event["data"] == {"amount": "1000.00"}
    conn.rollback()
    assert queued_events(conn) == []


def test_a_signal_without_a_connection_is_refused(settings: Settings) -> None:
    """The message says how to send a signal with a connection."""
    listener = ClaimAuditListener(AuditLog(settings))
    try:
        with pytest.raises(UnknownConnection, match=r"claim\.approved was sent without .*send\(conn=conn"):
            claim_approved.send(claim_id=7)
    finally:
        listener.disconnect()
