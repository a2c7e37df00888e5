"""What a query means, computed from the events themselves in Python: what the search must find."""

import json
from typing import Any

from pgaudit.indexes.expressions import CONTEXT
from pgaudit.trail import Entry, Query, Term
from pgaudit.trail.fields import data_path, moment


def matching(entries: list[Entry], query: Query) -> list[int]:
    """Returns the indexes of the entries for which all terms hold, the newest first."""
    found = [entry.index for entry in entries if all(holds(entry, term) for term in query.terms)]
    return sorted(found, reverse=True)


def holds(entry: Entry, term: Term) -> bool:
    """Returns whether a term holds for an entry."""
    return any(equals(entry, term.field, value) for value in term.values) != term.negated


def equals(entry: Entry, field: str, value: str) -> bool:
    """Returns whether one value of a term is the entry's."""
    event = entry.event
    kind, _, identity = value.partition(":")
    meanings = {
        "id": lambda: str(event["id"]) == value,
        "action": lambda: is_action(event["action"], value),
        "actor": lambda: is_reference(event.get("actor", {}), kind, identity),
        "target": lambda: any(is_reference(target, kind, identity) for target in event.get("targets", [])),
        "tenant": lambda: bool(event.get(field) == value),
        "outcome": lambda: bool(event.get(field) == value),
        "after": lambda: entry.recorded_at >= moment(value),
        "before": lambda: entry.recorded_at < moment(value),
        "occurred_after": lambda: entry.occurred_at >= moment(value),
        "occurred_before": lambda: entry.occurred_at < moment(value),
        "data": lambda: contains(event.get("data"), json.loads(value)),
        "changes": lambda: any(contains(change, change_of(value)) for change in event.get("changes", [])),
    }
    if field in CONTEXT:
        return bool(event.get("context", {}).get(CONTEXT[field]) == value)
    return meanings[field]() if field in meanings else text_at(event.get("data", {}), data_path(field)) == value


def is_action(action: str, wanted: str) -> bool:
    """Returns whether an action is that one, or begins as one with an asterisk."""
    return action.startswith(wanted[:-1]) if wanted.endswith("*") else action == wanted


def change_of(value: str) -> Any:
    """Returns what a change must contain: an object, or a path."""
    return json.loads(value) if value.startswith("{") else {"path": value}


def is_reference(part: dict[str, Any], kind: str, identity: str) -> bool:
    """Returns whether an actor or target is "type:id", or any of that type."""
    return part.get("type") == kind and (identity == "*" or part.get("id") == identity)


def contains(document: Any, wanted: Any) -> bool:
    """Returns whether one JSON document contains another, as jsonb understands it."""
    if isinstance(wanted, dict) and isinstance(document, dict):
        return all(key in document and contains(document[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(document, list):
        return all(any(contains(item, value) for item in document) for value in wanted)
    return type(document) is type(wanted) and bool(document == wanted)


def text_at(document: Any, path: tuple[str, ...]) -> str | None:
    """Returns the text of the value at a path."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if document is None or isinstance(document, str) else json.dumps(document)
