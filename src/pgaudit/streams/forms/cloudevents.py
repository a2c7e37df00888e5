"""CloudEvents 1.0: ``type`` is the action, ``subject`` the target, and ``data`` the event that the hash covers.

``sequence``, ``partitionkey`` and ``recordedtime`` are documented extensions of CloudEvents; ``leafhash``, ``actor``,
``outcome`` and ``tenant`` are ours.
"""

from typing import Any, Final

from cloudevents.core.v1.event import CloudEvent

from pgaudit.streams.forms.field_values import given, identity, in_utc
from pgaudit.trail.entry import Entry

SOURCE: Final = "pgaudit"
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"  # CloudEvents has no control characters in attributes


def form(entry: Entry) -> dict[str, Any]:
    """Returns the event in the JSON format of CloudEvents. ``id`` is the idempotency key."""
    attributes: dict[str, Any] = {
        "specversion": "1.0", "id": identity(entry), "source": SOURCE, "type": entry.action,
        "time": entry.occurred_at, "datacontenttype": "application/json",
        **given(
            subject=printable(entry.target), sequence=f"{entry.index:020d}", leafhash=entry.leaf_hash.hex(),
            recordedtime=in_utc(entry.recorded_at), partitionkey=printable(entry.target),
            actor=printable(entry.actor), outcome=entry.outcome, tenant=printable(entry.tenant),
        ),
    }  # fmt: skip
    CloudEvent(attributes)  # raises unless they follow the specification
    return {**attributes, "time": in_utc(entry.occurred_at), "data": entry.exact_event()}


def printable(text: str | None) -> str | None:
    """Returns a text with its control characters replaced: the event in ``data`` has it as it is."""
    return text and "".join(character if is_allowed(ord(character)) else REPLACEMENT for character in text)


def is_allowed(code: int) -> bool:
    """Returns whether CloudEvents allows a character in attributes: it is no control character, and no noncharacter."""
    return code > 0x1F and not 0x7F <= code <= 0x9F and not 0xFDD0 <= code <= 0xFDEF and code & 0xFFFE != 0xFFFE  # noqa: PLR2004 - section "Type System" of the specification
