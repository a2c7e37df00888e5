"""A captured table, and captured events in short."""

from typing import Any

ADD = "SELECT pgaudit.add_capture('claims', 'claim', '{id}')"
CONTEXT = {"actor": {"type": "user", "id": "42", "name": "Ann"}, "tenant": "north", "context": {"request_id": "r-1"}}


def changes(event: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Returns what was before and after, by column."""
    return {
        change["path"]: tuple(change[side] for side in ("before", "after") if side in change)
        for change in event["changes"]
    }


def targets(event: dict[str, Any]) -> list[str]:
    """Returns the targets in short."""
    return [f"{target['type']}:{target['id']}" for target in event["targets"]]
