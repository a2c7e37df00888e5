"""An event as a message of syslog (RFC 5424): one line, the event as JSON, and what finds it as structured data."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from pgaudit._exact_json import to_json
from pgaudit.streams.forms import Form
from pgaudit.streams.forms.field_values import in_utc
from pgaudit.trail.entry import Entry

ERROR: Final = 3
WARNING: Final = 4
INFORMATIONAL: Final = 6
SEVERITIES: Final = {"success": INFORMATIONAL, "denied": WARNING, "failure": ERROR}
LONGEST_MSGID: Final = 32  # characters, as the standard says
BOM: Final = b"\xef\xbb\xbf"  # what follows is UTF-8
ESCAPED: Final = re.compile(r'[\\"\]]')
BREAKS: Final = re.compile("[\x7f-\x9f\u2028\u2029]")  # of lines, for some readers, and of terminals
UNPRINTABLE: Final = re.compile("[^!-~]")


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes messages of events.

    :ivar largest: bytes of a message: a larger one has instead of its event where that is.
    :ivar enterprise: the number of the organization that the name of the structured data belongs to.
    """

    form: Form
    facility: int
    app: str
    enterprise: int
    largest: int
    host: str

    def compose(self, entry: Entry) -> bytes:
        """Returns the message of an event."""
        head = self._head(entry)
        message = head + on_one_line(self.form(entry))
        return message if len(message) <= self.largest else head + on_one_line(self._thin(entry, len(message)))

    def _head(self, entry: Entry) -> bytes:
        """Returns everything before the event."""
        priority = self.facility * 8 + SEVERITIES.get(entry.outcome, WARNING)
        moment = in_utc(entry.occurred_at.astimezone(UTC))
        data = structured(f"pgaudit@{self.enterprise}", parameters(entry))
        head = f"<{priority}>1 {moment} {self.host} {self.app} - {word(entry.action, LONGEST_MSGID)} {data} "
        return head.encode() + BOM

    def _thin(self, entry: Entry, size: int) -> dict[str, Any]:
        """Returns what is said instead of an event that is too large."""
        left_out = f"the event: its message has {size} bytes, and max={self.largest}; the log has it at this index"
        return parameters(entry) | {"index": entry.index, "left_out": left_out}


def parameters(entry: Entry) -> dict[str, Any]:
    """Returns what finds an event, and proves it."""
    return {
        "index": str(entry.index),
        "leaf_hash": entry.leaf_hash.hex(),
        "id": str(entry.event_id),
        "action": entry.action,
        "outcome": entry.outcome,
    }


def on_one_line(value: object) -> bytes:
    """Returns a value as JSON, without any character that ends a line for whatever reader: those are escaped."""
    return BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", to_json(value)).encode()


def structured(name: str, values: Mapping[str, str]) -> str:
    r"""Returns structured data.

    >>> structured("pgaudit@32473", {"action": 'a"]'})
    '[pgaudit@32473 action="a\\"\\]"]'
    """
    return f"[{name} " + " ".join(f'{key}="{escaped(value)}"' for key, value in values.items()) + "]"


def escaped(value: str) -> str:
    """Returns a value with a backslash before what would end it, and without what would end the line."""
    line = "".join(character if character.isprintable() else "?" for character in value)
    return ESCAPED.sub(lambda found: f"\\{found[0]}", line)


def word(text: str, longest: int) -> str:
    """Returns a text as one printable word of ASCII; a hyphen, which means nothing, for an empty one."""
    return UNPRINTABLE.sub("?", text)[:longest] or "-"


def host_name() -> str:
    """Returns the name of this host, as the standard allows it."""
    return word(socket.gethostname(), 255)
