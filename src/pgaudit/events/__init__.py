"""Events: what they hold, which JSON they accept, and how their ids are made."""

from pgaudit.events.event import Actor, AuditContext, AuditEvent, Change, Outcome, Target

__all__ = ["Actor", "AuditContext", "AuditEvent", "Change", "Outcome", "Target"]
