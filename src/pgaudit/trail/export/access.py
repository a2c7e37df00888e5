"""The events that say that the log is exported: recorded before its first byte, and at its end."""

from typing import Any

from pgaudit.access_log import EXPORT_STARTED, EXPORTED
from pgaudit.events import Actor, AuditEvent
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.stream import Stream


def started(plan: Plan, actor: Actor | str | None = None, **more: Any) -> AuditEvent:
    """Returns the event that an export begins.

    :param actor: the user who exports; by default the actor that is bound to the context.
    :param more: what else to say in ``data``.
    """
    return AuditEvent(action=EXPORT_STARTED, actor=actor, target=f"export:{plan.id}", data={**described(plan), **more})


def exported(stream: Stream, actor: Actor | str | None = None, reason: str | None = None, **more: Any) -> AuditEvent:
    """Returns the event that an export has ended.

    :param reason: why it broke off, if it did.
    """
    result = {
        "position": stream.position,
        "count": stream.count,
        "first_index": stream.first_index,
        "last_index": stream.last_index,
        **({} if reason else {"bytes": stream.bytes, "sha256": stream.sha256}),
    }
    return AuditEvent(
        action=EXPORTED,
        actor=actor,
        target=f"export:{stream.plan.id}",
        outcome="failure" if reason else "success",
        reason=reason,
        data={**described(stream.plan), **result, **more},
    )


def described(plan: Plan) -> dict[str, Any]:
    """Returns what is exported. ``log_size`` is the end of the range, which begins at 0."""
    said = ("query", "format", "log_size", "columns", "masked")
    return {name: value for name, value in plan.to_json().items() if name in said}
