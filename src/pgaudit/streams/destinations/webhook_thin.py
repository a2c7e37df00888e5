"""The thin form of webhooks: what has happened, and where to read it."""

from dataclasses import dataclass
from typing import Any, Final

from pgaudit.streams.forms.field_values import in_utc
from pgaudit.trail.entry import Entry

EVENTS: Final = "/api/v1/audit/events"  # where pgaudit's application has them, below the place where it is mounted


@dataclass(frozen=True, slots=True)
class Thin:
    """The form that says what has happened and where to read it: without personal data, and always less than 1 kB.

    :ivar link: the URL of pgaudit's application; without it, the links begin with its paths.
    """

    link: str

    def form(self, entry: Entry) -> dict[str, Any]:
        """Returns ``type``, ``timestamp`` and ``data``, as the standard recommends."""
        event = f"{self.link}{EVENTS}/{entry.index}"
        data = {
            "index": entry.index,
            "id": str(entry.event_id),
            "leaf_hash": entry.leaf_hash.hex(),
            "links": {"event": event, "proof": f"{event}/proof"},
        }
        return {"type": entry.action, "timestamp": in_utc(entry.occurred_at), "data": data}
