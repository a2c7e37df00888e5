"""The events that everybody records: those of a claim that is approved."""

from pgaudit import Actor, AuditContext, AuditEvent, Change, Target


def event(number: int = 0) -> AuditEvent:
    """An event with an id and a time of its own, 430 bytes of JSON."""
    return AuditEvent(
        action="claim.approved",
        actor=Actor(type="user", id=str(number % 500), name="Ada"),
        target=Target(type="claim", id=f"c-{number * 7_919 % 10_007}"),
        changes=[Change(path="status", before="open", after="approved")],
        context=AuditContext(request_id=f"req-{number:06}", trace_id="4bf92f3577b34da6a3ce929d0e0e4736"),
        data={"approval_amount": "1000.00"},
    )
