"""What several forms say in the same words."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from pgaudit.trail.entry import Entry


def in_utc(moment: datetime) -> str:
    """Returns a time as RFC 3339, with microseconds.

    >>> from datetime import UTC
    >>> in_utc(datetime(2026, 11, 27, 8, 30, tzinfo=UTC))
    '2026-11-27T08:30:00.000000Z'
    """
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def identity(entry: Entry) -> str:
    """Returns what identifies an event: its id. A second event of that id, which conflicts, adds its index."""
    return str(entry.event_id) if entry.conflicts_with is None else f"{entry.event_id}-{entry.index}"


def sentence(entry: Entry) -> str:
    """Returns the event in a few words, such as ``claim.approved of claim:7 by user:42``."""
    target = f" of {entry.target}" if entry.target else ""
    actor = f" by {entry.actor}" if entry.actor else ""
    outcome = "" if entry.outcome == "success" else f": {entry.outcome}"
    return f"{entry.action}{target}{actor}{outcome}"


def address(text: str | None) -> str | None:
    """Returns the text if it is the address of a computer, else None."""
    try:
        return str(ip_address(text or ""))
    except ValueError:
        return None


def given(**members: Any) -> dict[str, Any]:
    """Returns the members that have a value: neither None nor an empty object, list or text."""
    return {name: value for name, value in members.items() if value not in (None, {}, [], "")}


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns the other members."""
    return {name: value for name, value in values.items() if name not in names}
