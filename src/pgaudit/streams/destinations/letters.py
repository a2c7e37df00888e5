"""Letters: the subject, text and HTML of an e-mail about events, by a template of Jinja2.

The template is rendered three times, with ``part`` set to ``subject``, ``text`` and ``html``; only ``html`` is escaped.
One of your own extends ``mail.jinja`` and replaces the blocks of these names. It runs in Jinja2's sandbox.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import ChainableUndefined, FileSystemLoader, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pgaudit._exact_json import to_indented_json, to_json
from pgaudit.streams.outcomes import DestinationRefused, EventsRefused
from pgaudit.trail.entry import Entry

TEMPLATES: Final = Path(__file__).with_name("templates")
DEFAULT: Final = '{% extends "mail.jinja" %}'
LONGEST_SUBJECT: Final = 200  # characters
LARGEST_TEMPLATE: Final = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """What an e-mail says."""

    subject: str
    text: str
    html: str

    def message(self, identity: str) -> EmailMessage:
        """Returns the e-mail without sender and recipients: text and HTML; machines do not answer it."""
        message = EmailMessage()
        message["Subject"] = one_line(self.subject)
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = identity
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return message


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes letters by one template: the same twice, one of which escapes what is put into it."""

    plain: Template
    escaping: Template

    def write(self, values: dict[str, Any]) -> Letter:
        """Returns the letter with these values.

        :raises EventsRefused: the template cannot be rendered with them.
        """
        try:
            return Letter(
                self.plain.render(values, part="subject"),
                self.plain.render(values, part="text").strip() + "\n",
                self.escaping.render(values, part="html").strip() + "\n",
            )
        except Exception as error:  # noqa: BLE001 - a template may do whatever Python can
            raise EventsRefused(f"the template cannot be rendered: {type(error).__name__}: {one_line(error)}") from None


def open_writer(path: str) -> Writer:
    """Returns the writer of the template in a file; of ours, if the path is empty.

    :raises DestinationRefused: the file cannot be read, or is no template.
    """
    try:
        text = Path(path).read_bytes()[:LARGEST_TEMPLATE].decode() if path else DEFAULT
        return Writer(*(environment(escapes=escapes).from_string(text) for escapes in (False, True)))
    except TemplateError as error:
        raise DestinationRefused(f"{path} is no template of Jinja2: {one_line(error).rstrip('.')}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DestinationRefused(f"the template {path} cannot be read: {type(error).__name__}") from None


@cache
def environment(*, escapes: bool) -> ImmutableSandboxedEnvironment:
    """Returns what templates run in. What an event does not have is empty."""
    made = ImmutableSandboxedEnvironment(
        autoescape=escapes, undefined=ChainableUndefined, loader=FileSystemLoader(TEMPLATES), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["json"] = to_json
    made.filters["indented"] = to_indented_json
    made.filters["utc"] = in_utc
    return made


def values_of(stream: str, prefix: str, link: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns what a template gets."""
    outcomes = Counter(entry.outcome for entry in entries)
    return {
        "stream": stream,
        "prefix": prefix,
        "link": link.rstrip("/"),
        "events": [as_value(entry) for entry in entries],
        "bad": {outcome: outcomes[outcome] for outcome in sorted(outcomes) if outcome != "success"},
    }


def as_value(entry: Entry) -> dict[str, Any]:
    """Returns an event as a template sees it: plain values alone."""
    event = entry.exact_event()
    return {
        "index": entry.index,
        "leaf_hash": entry.leaf_hash.hex(),
        "occurred_at": entry.occurred_at,
        "persisted_at": entry.persisted_at,
        "action": entry.action,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "target": entry.target,
        "tenant": entry.tenant,
        "reason": event.get("reason"),
        "changes": event.get("changes", []),
        "event": event,
    }


def in_utc(moment: datetime) -> str:
    """Returns a moment for people, such as ``2026-11-27 09:00:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def one_line(value: object) -> str:
    """Returns a text as one line of printable characters, bounded: as a header may have it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return line if len(line) <= LONGEST_SUBJECT else f"{line[:LONGEST_SUBJECT]}…"
