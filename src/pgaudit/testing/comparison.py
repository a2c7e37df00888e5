"""An event beside what is expected of it, field by field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from pgaudit.events import Actor, AuditEvent, Change, Target


class Absent:
    """Stands for what an event does not have."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is expected, and what the event has in its place."""

    name: str
    expected: object
    found: object

    @property
    def matches(self) -> bool:
        """Returns whether both are the same; true is not 1."""
        return bool(self.expected == self.found) and isinstance(self.expected, bool) == isinstance(self.found, bool)


@dataclass(frozen=True, slots=True)
class Comparison:
    """An event, the ``number``-th that was recorded, beside what is expected of it."""

    number: int
    event: AuditEvent
    fields: Sequence[Field]

    @property
    def mismatches(self) -> int:
        """Returns how many fields are not as expected."""
        return sum(not field.matches for field in self.fields)


def compare_part(
    name: str, expected: Actor | Target | None, found: Actor | Target | None, details: Sequence[str]
) -> list[Field]:
    """Compares an actor or target by its reference, and by those of its details that are expected."""
    named = [detail for detail in details if getattr(expected, detail, None) is not None]
    return [
        Field(name, reference(expected), reference(found)),
        *(Field(f"{name}.{detail}", getattr(expected, detail), getattr(found, detail, ABSENT)) for detail in named),
    ]


def compare_target(expected: Target, targets: Sequence[Target]) -> list[Field]:
    """Compares the expected target with the one of the same reference; with all of them, if there is none."""
    for target in targets:
        if reference(target) == reference(expected):
            return compare_part("target", expected, target, ("name", "role"))
    return [Field("target", reference(expected), ", ".join(map(str, map(reference, targets))) or ABSENT)]


def compare_changes(expected: Sequence[Change], changes: Sequence[Change]) -> list[Field]:
    """Compares each expected change with the one of the same path: before and after, where the test names them."""
    fields: list[Field] = []
    for change in expected:
        found = next((candidate for candidate in changes if candidate.path == change.path), None)
        named = [side for side in ("before", "after") if side in change.model_fields_set]
        path = f"changes.{change.path}"
        fields += [Field(f"{path}.{side}", getattr(change, side), getattr(found, side, ABSENT)) for side in named]
        if not named:
            fields.append(Field("changes", change.path, found.path if found else ABSENT))
    return fields


def compare_data(path: str, expected: object, found: object) -> list[Field]:
    """Compares every expected value, at any depth; an empty object has to be empty."""
    given: object = {} if found is ABSENT else found
    if not (expected and is_object(expected) and is_object(given)):
        return [Field(path, expected, found)]
    return [
        field
        for key, value in expected.items()
        for field in compare_data(f"{path}.{key}", value, given.get(key, ABSENT))
    ]


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Returns whether it is a JSON object."""
    return isinstance(value, dict)


def reference(part: Actor | Target | None) -> str | None:
    """Returns an actor or target in short: "user:42"."""
    return str(part) if part else None
