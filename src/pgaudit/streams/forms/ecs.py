"""Elastic Common Schema 8.17. What it has no field for is in ``pgaudit``; map that as ``flattened``.

``event.category`` is left out: none of its values is for what an application does.
"""

from collections.abc import Mapping
from typing import Any, Final

from pgaudit.streams.forms.field_values import address, given, identity, in_utc, sentence, without
from pgaudit.trail.entry import Entry

VERSION: Final = "8.17.0"
TYPES: Final[Mapping[str, str]] = {
    "creation": "create created add added insert inserted opened registered submitted issued uploaded imported",
    "access": "read view viewed open accessed searched listed exported downloaded printed",
    "change": "update updated change changed edit edited modify modified set renamed corrected amended moved",
    "deletion": "delete deleted remove removed purged erased destroyed",
}
BY_VERB: Final = {verb: kind for kind, verbs in TYPES.items() for verb in verbs.split()}
MAPPED: Final = ("ip", "user_agent", "request_id", "trace_id", "span_id")


def form(entry: Entry) -> dict[str, Any]:
    """Returns the event in the form of ECS. ``event.id`` is the idempotency key."""
    event = entry.exact_event()
    actor: Mapping[str, Any] = event.get("actor") or {}
    context: Mapping[str, Any] = event.get("context") or {}
    ip = address(context.get("ip"))
    behalf = actor.get("on_behalf_of")
    return given(
        **{"@timestamp": in_utc(entry.occurred_at)},
        ecs={"version": VERSION},
        message=sentence(entry),
        event=fields_of_event(entry, event),
        user=given(id=actor.get("id"), name=actor.get("name"), effective=given(id=behalf)),
        source=given(ip=ip),
        user_agent=given(original=context.get("user_agent")),
        http=given(request=given(id=context.get("request_id"))),
        trace=given(id=context.get("trace_id")),
        span=given(id=context.get("span_id")),
        organization=given(id=entry.tenant),
        related=given(
            user=list(dict.fromkeys(filter(None, (actor.get("id"), actor.get("name"), behalf)))), ip=[ip] if ip else []
        ),
        pgaudit=own_fields(entry, event, context, is_address=ip is not None),
    )


def fields_of_event(entry: Entry, event: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``event.*``."""
    kind = BY_VERB.get(entry.action.rpartition(".")[2], "info")
    return given(
        kind="event", id=identity(entry), action=entry.action, dataset="pgaudit.audit_log", module="pgaudit",
        type=[kind, "denied"] if entry.outcome == "denied" else [kind],
        outcome="success" if entry.outcome == "success" else "failure",
        reason=event.get("reason"), sequence=entry.index, hash=entry.leaf_hash.hex(),
        created=in_utc(entry.recorded_at),
    )  # fmt: skip


def own_fields(
    entry: Entry, event: Mapping[str, Any], context: Mapping[str, Any], *, is_address: bool
) -> dict[str, Any]:
    """Returns ``pgaudit.*``: what ECS has no field for."""
    mapped = MAPPED if is_address else [name for name in MAPPED if name != "ip"]
    return given(
        outcome=entry.outcome, actor=given(type=entry.actor_type), targets=event.get("targets"),
        changes=event.get("changes"), data=event.get("data"), context=without(context, *mapped),
        persisted_at=in_utc(entry.persisted_at), conflicts_with=entry.conflicts_with,
        schema_version=event.get("schema_version"), recorded_by=event.get("recorded_by"), xid=event.get("xid"),
    )  # fmt: skip
