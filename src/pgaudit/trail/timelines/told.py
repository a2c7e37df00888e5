"""What an event tells of a field."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from pgaudit.trail.timelines.moment import Moment


@dataclass(frozen=True, slots=True)
class Told:
    """What an event has told of a field. A value of None means that the field has none.

    ``known`` is False if ``by`` changed the field and did not tell to what: the older value no longer holds.
    ``source`` is "before" if the value was told only as the one before a later change, that of ``by``.
    ``contradicted_by`` is the next change, if its value before is another one: something changed the field in between
    without an event.
    """

    value: Any
    known: bool
    by: Moment
    source: Literal["after", "before"] = "after"
    contradicted_by: Moment | None = None

    def part(self, keys: Sequence[str]) -> "Told | None":
        """Returns what this tells of a part of the value; None if it does not say which part that is."""
        value = self.value
        for key in keys if self.known else ():
            if is_ambiguous(value, key):
                return None
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
        return replace(self, value=value)

    def parts(self) -> "dict[str, Told]":
        """Returns what this tells of each part of the value that a path can name."""
        value = cast("dict[str, Any]", self.value) if isinstance(self.value, dict) else {}
        return {key: replace(self, value=part) for key, part in value.items() if "." not in key}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A change whose value before is not what was told last: something changed the field without an event.

    ``told`` is what was told last, ``before`` what the event ``by`` says instead.
    """

    path: str
    told: Told
    before: Any
    by: Moment


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that is not the same at two moments. None, and what is not ``known``, is unknown."""

    path: str
    before: Told | None
    after: Told | None


def is_ambiguous(value: object, key: str) -> bool:
    """Returns whether it is uncertain which part has that key: positions in a list move, and keys may have dots."""
    if not isinstance(value, dict):
        return isinstance(value, list)
    return key not in value and any("." in name for name in cast("dict[str, Any]", value))


def is_equal(one: object, other: object) -> bool:
    """Returns whether two JSON values are equal: in JSON, unlike in Python, true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        a, b = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return a.keys() == b.keys() and all(is_equal(a[key], b[key]) for key in a)
    if isinstance(one, list) and isinstance(other, list):
        c, d = cast("list[object]", one), cast("list[object]", other)
        return len(c) == len(d) and all(map(is_equal, c, d))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def is_same(one: Told | None, other: Told | None) -> bool:
    """Returns whether both are unknown, or have the same value."""
    known = [told for told in (one, other) if told and told.known]
    return not known or (len(known) == len((one, other)) and is_equal(known[0].value, known[1].value))
