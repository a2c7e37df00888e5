"""The vocabulary of insurance: claims and policies, what is done to them, and signals of it."""

from collections.abc import Callable, Coroutine, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from blinker import NamedSignal

from pgaudit.errors import InvalidEvent
from pgaudit.events import AuditEvent
from pgaudit.listener import AuditListener, await_in_loop
from pgaudit.recording.audit_log import AuditLog


class ClaimSignal(NamedSignal):
    """A signal that a ``ClaimAuditListener`` hears both ways: sent with ``send``, or awaited with ``send_async``."""

    async def send_async(
        self,
        sender: Any | None = None,
        /,
        *,
        _sync_wrapper: Callable[[Callable[..., Any]], Callable[..., Coroutine[Any, Any, Any]]] | None = await_in_loop,
        **payload: Any,
    ) -> list[tuple[Callable[..., Any], Any]]:
        return await super().send_async(sender, _sync_wrapper=_sync_wrapper, **payload)


claim_submitted: Final = ClaimSignal("claim-submitted")
claim_approved: Final = ClaimSignal("claim-approved")
claim_rejected: Final = ClaimSignal("claim-rejected")
claim_settled: Final = ClaimSignal("claim-settled")


class ClaimAction(StrEnum):
    """What is done to a claim."""

    SUBMIT = "claim.submitted"
    UPDATE = "claim.updated"
    ASSIGN = "claim.assigned"
    APPROVE = "claim.approved"
    REJECT = "claim.rejected"
    SETTLE = "claim.settled"
    REOPEN = "claim.reopened"
    CLOSE = "claim.closed"
    VIEW = "claim.viewed"


class PolicyAction(StrEnum):
    """What is done to a policy."""

    ISSUE = "policy.issued"
    UPDATE = "policy.updated"
    RENEW = "policy.renewed"
    CANCEL = "policy.cancelled"
    LAPSE = "policy.lapsed"
    REINSTATE = "policy.reinstated"


_Action = TypeVar("_Action", ClaimAction, PolicyAction)


class ClaimAudit:
    """Records what users do to claims and policies.

    >>> claims = ClaimAudit(AuditLog())
    >>> claims.log_action(conn, 42, 7, ClaimAction.APPROVE, {"approval_amount": 1000})

    An action may also be given as its value: "claim.approved". Each method takes the caller's connection and raises as
    :meth:`pgaudit.AuditLog.record` does.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def log_action(
        self,
        conn: object,
        user_id: object,
        claim_id: object,
        action: ClaimAction | str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Records what a user did to a claim."""
        self._audit.record(conn, _event(user_id, ("claim", claim_id), _action_on("claims", ClaimAction, action), data))

    async def log_action_async(
        self,
        conn: object,
        user_id: object,
        claim_id: object,
        action: ClaimAction | str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """``log_action`` for asynchronous connections."""
        await self._audit.record_async(
            conn, _event(user_id, ("claim", claim_id), _action_on("claims", ClaimAction, action), data)
        )

    def log_policy_change(
        self,
        conn: object,
        user_id: object,
        policy_id: object,
        action: PolicyAction | str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Records what a user did to a policy."""
        self._audit.record(
            conn, _event(user_id, ("policy", policy_id), _action_on("policies", PolicyAction, action), data)
        )

    async def log_policy_change_async(
        self,
        conn: object,
        user_id: object,
        policy_id: object,
        action: PolicyAction | str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """``log_policy_change`` for asynchronous connections."""
        await self._audit.record_async(
            conn, _event(user_id, ("policy", policy_id), _action_on("policies", PolicyAction, action), data)
        )


def _action_on(what: str, kind: type[_Action], given: str) -> _Action:
    """Returns the action as a member, given a member or its value.

    :raises InvalidEvent: there is no such action; the message says what is accepted.
    """
    try:
        return kind(given)
    except ValueError:
        example = next(iter(kind))
        raise InvalidEvent(
            f"{given!r} is not an action on {what}; "
            f'give a {kind.__name__}, such as {kind.__name__}.{example.name}, or its value: "{example.value}"'
        ) from None


def _event(user_id: object, target: tuple[str, object], action: StrEnum, data: Mapping[str, Any] | None) -> AuditEvent:
    """Returns the event of an action of a user; without a user, of the actor that is bound.

    :raises InvalidEvent: the target has no id.
    """
    kind, identity = target
    if identity is None:
        raise InvalidEvent(f"{action.value}: {kind}_id is None: record the event after the {kind} has got its id")
    actor = None if user_id is None else f"user:{user_id}"
    return AuditEvent(action=action.value, actor=actor, target=f"{kind}:{identity}", data=dict(data or {}))


class ClaimAuditListener(AuditListener):
    """Turns the four claim signals into events, in the sender's transaction.

    >>> ClaimAuditListener(audit)
    >>> claim_approved.send(conn=conn, claim_id=7, user_id=42, approval_amount="1000.00")

    With an asynchronous connection, ``await claim_approved.send_async(conn=conn, …)``.
    """

    def __init__(self, audit: AuditLog) -> None:
        actions = {
            claim_submitted: ClaimAction.SUBMIT.value,
            claim_approved: ClaimAction.APPROVE.value,
            claim_rejected: ClaimAction.REJECT.value,
            claim_settled: ClaimAction.SETTLE.value,
        }
        super().__init__(audit, actions, target_type="claim")
