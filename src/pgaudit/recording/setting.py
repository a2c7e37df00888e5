"""The transaction-local setting ``audit.context``: what it says, and the SQL that makes it say so."""

import json
from typing import Any, Final

from pgaudit.events import AuditEvent
from pgaudit.recording.context import fields_of

MAX_BYTES: Final = 8_000  # the server ignores a longer setting
# What identify() was told holds until the transaction ends, or goes back to an earlier savepoint: only the server
# always knows whether it has.
UNLESS_EXPLICIT: Final = " WHERE left(coalesce(current_setting('audit.context', true), ''), 11) <> '{\"explicit\"'"


def setting_of(event: AuditEvent, *, explicit: bool = False) -> str:
    """Returns the actor, tenant and context of an event as JSON, in ASCII; an empty text if it has none.

    It is as short as the server wants it: the longest texts are left out, those of the context first, but never the
    type and id of the actor. It has neither "%" nor "'", which drivers may take for a placeholder or the end of it.

    :param explicit: whether it stays, however the binding changes.
    """
    parts: dict[str, Any] = {
        "actor": event.actor and event.actor.model_dump(exclude_none=True),
        "tenant": event.tenant,
        "context": fields_of(event.context),
    }
    said = {name: part for name, part in parts.items() if part}
    if not said:
        return ""
    while len(text := _json({"explicit": True} | said if explicit else said)) > MAX_BYTES:
        _leave_out_longest(said)
    return text


def in_front_of(statement: str, setting: str) -> str:
    """Returns both as one text: the errors of the statement, on a line of its own, do not quote the setting."""
    return f"{constant(setting)};\n{statement}"


def constant(setting: str) -> str:
    """Returns the statement that sets it, as a text without parameters; whatever ``standard_conforming_strings`` is."""
    escaped = setting.replace("\\", "\\\\")
    return f"SELECT set_config('audit.context', E'{escaped}', true){UNLESS_EXPLICIT}"


def _json(said: Any) -> str:
    return json.dumps(said, separators=(",", ":")).replace("%", "\\u0025").replace("'", "\\u0027")


def _leave_out_longest(said: dict[str, Any]) -> None:
    """Removes the longest of the texts that can best be missed."""
    context: dict[str, str] = said.get("context", {})
    actor: dict[str, str] = said.get("actor", {})
    name_of_actor = [name for name in ("name", "on_behalf_of") if name in actor]
    part, names = (context, context) if context else (actor, name_of_actor) if name_of_actor else (said, ["tenant"])
    del part[max(names, key=lambda name: len(_json(part[name])))]
