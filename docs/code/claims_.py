"""A user approves a claim and cancels a policy: the vocabulary of insurance."""

from typing import Any

import psycopg

from pgaudit import AuditLog
from pgaudit.claims import ClaimAction, ClaimAudit, ClaimAuditListener, PolicyAction, claim_settled

audit = AuditLog()
claims = ClaimAudit(audit)
ClaimAuditListener(audit)  # from now on, each of the claim signals is an event


def approve(conn: psycopg.Connection[Any], user: int, claim: int) -> None:
    """Records ``claim.approved`` by ``user:42`` on ``claim:7``."""
    with conn.transaction():
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])
        claims.log_action(conn, user, claim, ClaimAction.APPROVE, {"approval_amount": "1000.00"})


def cancel(conn: psycopg.Connection[Any], user: int, policy: int) -> None:
    """Records ``policy.cancelled``; an action may be given as its value."""
    with conn.transaction():
        claims.log_policy_change(conn, user, policy, PolicyAction.CANCEL.value, {"cancellation": "by the holder"})


def settle(conn: psycopg.Connection[Any], user: int, claim: int) -> None:
    """Sends a signal; the listener records ``claim.settled`` in the transaction of the connection."""
    with conn.transaction():
        conn.execute("UPDATE claims SET status = 'settled' WHERE id = %s", [claim])
        claim_settled.send(conn=conn, claim_id=claim, user_id=user, settlement_amount="950.00")
