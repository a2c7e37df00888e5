"""The subject, text and HTML of an e-mail about events, from a Jinja2 template.

The template is rendered three times, with ``part`` set to ``subject``, ``text`` and ``html``; only ``html`` is escaped.
A template of your own extends ``mail.jinja`` and replaces the blocks of these names. It runs in Jinja2's sandbox.
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
from pgaudit.streams.printable import excerpt
from pgaudit.trail.entry import Entry

TEMPLATES: Final = Path(__file__).with_name("templates")
DEFAULT: Final = '{% extends "mail.jinja" %}'
LARGEST_TEMPLATE: Final = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class MailText:
    """The contents of an e-mail."""

    subject: str
    text: str
    html: str

    def message(self, identity: str) -> EmailMessage:
        """Returns the e-mail without sender and recipients, as text and HTML, marked as automatic.

        :param identity: the ``Message-ID``, in angle brackets.
        """
        message = EmailMessage()
        message["Subject"] = excerpt(self.subject)
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = identity
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return message


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """A template, compiled twice: without escaping for subject and text, with escaping for HTML."""

    plain: Template
    escaping: Template

    def render(self, values: dict[str, Any]) -> MailText:
        """Returns the contents of an e-mail with these values.

        :raises EventsRefused: the template cannot be rendered with them.
        """
        try:
            return MailText(
                self.plain.render(values, part="subject"),
                self.plain.render(values, part="text").strip() + "\n",
                self.escaping.render(values, part="html").strip() + "\n",
            )
        except Exception as error:  # noqa: BLE001 - a template may do whatever Python can
            raise EventsRefused(f"the template cannot be rendered: {type(error).__name__}: {excerpt(error)}") from None


def load_template(path: str) -> MailTemplate:
    """Returns the template in a file, or the default one if the path is empty.

    :raises DestinationRefused: the file cannot be read, or is not a template.
    """
    try:
        text = Path(path).read_bytes()[:LARGEST_TEMPLATE].decode() if path else DEFAULT
        return MailTemplate(*(environment(escapes=escapes).from_string(text) for escapes in (False, True)))
    except TemplateError as error:
        raise DestinationRefused(f"{path} is no template of Jinja2: {excerpt(error).rstrip('.')}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DestinationRefused(f"the template {path} cannot be read: {type(error).__name__}") from None


@cache
def environment(*, escapes: bool) -> ImmutableSandboxedEnvironment:
    """Returns the environment of templates. A value that an event does not have renders as nothing."""
    made = ImmutableSandboxedEnvironment(
        autoescape=escapes, undefined=ChainableUndefined, loader=FileSystemLoader(TEMPLATES), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["json"] = to_json
    made.filters["indented"] = to_indented_json
    made.filters["utc"] = format_utc
    return made


def values_of(stream: str, prefix: str, link: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns the variables of a template."""
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


def format_utc(moment: datetime) -> str:
    """Returns a moment for people, such as ``2026-11-27 09:00:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
