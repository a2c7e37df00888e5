"""OCSF 1.8.0, class Entity Management (3004): who did what to which entity of the application.

What OCSF has no place for is in ``unmapped``, with the leaf hash. Its numbers are exact.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pgaudit.streams.forms.field_values import address, given, identity, in_utc, sentence, without
from pgaudit.trail.entry import Entry

VERSION: Final = "1.8.0"
CATEGORY, CATEGORY_NAME = 3, "Identity & Access Management"
CLASS, CLASS_NAME = 3004, "Entity Management"
OTHER: Final = 99
ACTIVITIES: Final[Mapping[int, tuple[str, str]]] = {
    1: ("Create", "create created add added insert inserted new opened registered submitted issued uploaded imported"),
    2: ("Read", "read view viewed open accessed searched listed exported downloaded printed"),
    3: ("Update", "update updated change changed edit edited modify modified set renamed corrected amended"),
    4: ("Delete", "delete deleted remove removed purged erased destroyed"),
    5: ("Move", "move moved transfer transferred"),
    6: ("Enroll", "enroll enrolled"),
    7: ("Unenroll", "unenroll unenrolled"),
    8: ("Enable", "enable enabled"),
    9: ("Disable", "disable disabled"),
    10: ("Activate", "activate activated"),
    11: ("Deactivate", "deactivate deactivated"),
    12: ("Suspend", "suspend suspended"),
    13: ("Resume", "resume resumed"),
}
BY_VERB: Final = {verb: number for number, (_, verbs) in ACTIVITIES.items() for verb in verbs.split()}
SEVERITIES: Final = {"success": (1, "Informational"), "failure": (2, "Low"), "denied": (3, "Medium")}
USERS: Final = {"user": 1, "admin": 2, "system": 3, "service": 4}
ENTITIES: Final = {"device": 1, "user": 2, "group": 3, "organization": 4, "policy": 5, "email": 6}
MAPPED: Final = ("session_id", "ip", "user_agent", "request_id", "correlation_id")


def form(entry: Entry) -> dict[str, Any]:
    """Returns the event in the form of OCSF. ``metadata.uid`` is the idempotency key."""
    event = entry.exact_event()
    context: Mapping[str, Any] = event.get("context") or {}
    severity, severity_name = SEVERITIES[entry.outcome]
    succeeded = entry.outcome == "success"
    return {
        **activity(entry.action),
        **given(
            time=milliseconds(entry.occurred_at), severity_id=severity, severity=severity_name,
            status_id=1 if succeeded else 2, status="Success" if succeeded else "Failure", status_code=entry.outcome,
            status_detail=None if succeeded else event.get("reason"),
            comment=event.get("reason") if succeeded else None,
            message=sentence(entry), metadata=metadata(entry, context), actor=actor(event, context),
            entity=entity(entry, event), src_endpoint=given(ip=address(context.get("ip"))),
            http_request=given(uid=context.get("request_id"), user_agent=context.get("user_agent")),
            unmapped=unmapped(entry, event, context),
        ),
    }  # fmt: skip


def activity(action: str) -> dict[str, Any]:
    """Returns class and activity of an action: by its verb, or Other with the verb as its name."""
    verb = action.rpartition(".")[2]
    number = BY_VERB.get(verb, OTHER)
    name = ACTIVITIES[number][0] if number in ACTIVITIES else "Other"
    return {
        "category_uid": CATEGORY, "category_name": CATEGORY_NAME, "class_uid": CLASS, "class_name": CLASS_NAME,
        "activity_id": number, "activity_name": verb if number == OTHER else name,
        "type_uid": CLASS * 100 + number, "type_name": f"{CLASS_NAME}: {name}",
    }  # fmt: skip


def metadata(entry: Entry, context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns where the event comes from."""
    return given(
        version=VERSION, product={"name": "pgaudit", "vendor_name": "pgaudit"}, uid=identity(entry),
        sequence=entry.index, event_code=entry.action, log_name="audit_log", tenant_uid=entry.tenant,
        correlation_uid=context.get("correlation_id"), original_time=in_utc(entry.occurred_at),
        logged_time=milliseconds(entry.recorded_at),
    )  # fmt: skip


def actor(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns who did it, and in which session; nothing if neither is known."""
    who: Mapping[str, Any] = event.get("actor") or {}
    user = given(
        uid=who.get("id"), name=who.get("name"), type=who.get("type"),
        type_id=USERS.get(who["type"], OTHER) if who else None,
    )  # fmt: skip
    return given(user=user, session=given(uid=context.get("session_id")))


def entity(entry: Entry, event: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the first target. OCSF requires one: without any, it is the resource that the action names."""
    targets = event.get("targets") or [{"type": (resource := entry.action.rpartition(".")[0]), "name": resource}]
    target: Mapping[str, Any] = targets[0]
    kind = target["type"]
    return given(uid=target.get("id"), name=target.get("name"), type=kind, type_id=ENTITIES.get(kind, OTHER))


def unmapped(entry: Entry, event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what OCSF has no place for."""
    who: Mapping[str, Any] = event.get("actor") or {}
    return given(
        leaf_hash=entry.leaf_hash.hex(), conflicts_with=entry.conflicts_with, on_behalf_of=who.get("on_behalf_of"),
        targets=event.get("targets"),
        changes=event.get("changes"), data=event.get("data"),
        context=without(context, *MAPPED) | ({} if address(context.get("ip")) else given(ip=context.get("ip"))),
        schema_version=event.get("schema_version"), recorded_by=event.get("recorded_by"), xid=event.get("xid"),
    )  # fmt: skip


def milliseconds(moment: datetime) -> int:
    """Returns milliseconds since 1970, before that below 0."""
    since = moment - datetime.fromtimestamp(0, moment.tzinfo)
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
