"""Records the events of the application's own event bus."""

from blinker import Signal

from pgaudit import AuditLog
from pgaudit.listener import AuditListener

policy_renewed = Signal()

AuditListener(AuditLog(), {policy_renewed: "policy.renewed"}, target_type="policy")


def renew(conn: object, policy: int, user: int) -> None:
    """The listener records in the sender's transaction; arguments that it does not know become the event's data."""
    policy_renewed.send(conn=conn, policy_id=policy, user_id=user, premium="120.00")
