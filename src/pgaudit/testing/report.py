"""What a failed assert says."""

from collections.abc import Sequence
from typing import Final

from pgaudit.events import AuditEvent
from pgaudit.testing.comparison import Comparison, Field, reference

SHOWN: Final = 3


def unexpected_number(
    times: int | None, expected: Sequence[Field], matching: Sequence[Comparison], others: Sequence[Comparison]
) -> str:
    """Returns how many events were expected and found, those that were found, and else those that come closest."""
    like_this = " like this" if expected else ""
    total = len(matching) + len(others)
    lines = [f"expected {number(times)}{like_this}, found {len(matching)} among {total} recorded:"]
    if expected:
        lines += ["", *listing(expected)]
    if matching:
        lines += ["", "  found:", *(f"    {headline(one.number, one.event)}" for one in matching)]
    # If too many events match, those that do not match are irrelevant.
    if times is None or len(matching) < times:
        for one in sorted(others, key=lambda one: one.mismatches)[:SHOWN]:
            lines += ["", f"  closest: {headline(one.number, one.event)}", *listing(one.fields)]
        if len(others) > SHOWN:
            lines += ["", f"  and {len(others) - SHOWN} others"]
    return "\n".join(lines)


def number(times: int | None) -> str:
    """Returns how many events are expected, in words."""
    if times is None:
        return "at least 1 event"
    return f"exactly {times} event{'' if times == 1 else 's'}" if times else "no event"


def headline(place: int, event: AuditEvent) -> str:
    """Returns an event in a line."""
    actor = f" by {reference(event.actor)}" if event.actor else ""
    targets = f" on {', '.join(str(reference(target)) for target in event.targets)}" if event.targets else ""
    return f"#{place} {event.action}{actor}{targets} ({event.id})"


def listing(fields: Sequence[Field]) -> list[str]:
    """Returns a line for each field that is as expected, two for one that is not: "-" expected, "+" found."""
    width = max((len(field.name) for field in fields), default=0)
    lines: list[str] = []
    for field in fields:
        name = field.name.ljust(width)
        if field.matches:
            lines.append(f"      {name}  {field.found!r}")
        else:
            lines += [f"    - {name}  {field.expected!r}", f"    + {name}  {field.found!r}"]
    return lines
