"""The subject that an event is published under in NATS."""

import re
from typing import Final

from pgaudit.trail.entry import Entry

UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


def subject_of(prefix: str, entry: Entry) -> str:
    """Returns ``prefix.tenant.action``; what a subject cannot have is written as ``%XX``, and no tenant as ``_``.

    Such as ``audit.north%20sea.claim.approved``.
    """
    action = ".".join(token(part) for part in entry.action.split("."))
    return f"{prefix}.{token(entry.tenant or '')}.{action}"


def token(text: str) -> str:
    """Returns a text as one token of a subject, percent-encoded; ``_`` if it is empty."""
    return UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text) or "_"
