"""Events for tests that do not care what is in them."""

from pgaudit import AuditEvent
from pgaudit.recording.context import with_bound_context


def event(number: int = 0) -> AuditEvent:
    """Returns an ordinary event about the claim with that number."""
    return AuditEvent(action="claim.approved", actor="user:42", target=f"claim:{number}")


def events(count: int) -> list[AuditEvent]:
    """Returns that many ordinary events about different claims."""
    return [event(number) for number in range(count)]


def inheriting_event() -> AuditEvent:
    """Returns an event as it would be recorded here: with what is bound, and nothing of its own."""
    return with_bound_context(AuditEvent(action="claim.approved"))
