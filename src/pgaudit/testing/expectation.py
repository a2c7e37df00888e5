"""What a test expects of an event."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from pgaudit.events import Actor, AuditContext, AuditEvent, Change, Outcome, Target
from pgaudit.events.json_values import checked_value
from pgaudit.recording.context import fields_of
from pgaudit.testing.comparison import Comparison, Field, compare_changes, compare_data, compare_part, compare_target


class Expected(TypedDict, total=False):
    """What is expected of an event; what is not named may be anything.

    ``target`` is any of the event's targets. Of ``data``, ``context`` and ``changes``, only what is named counts.
    """

    action: str
    actor: Actor | str | None
    target: Target | str
    outcome: Outcome
    reason: str | None
    tenant: str | None
    context: AuditContext | Mapping[str, str]
    changes: Sequence[Change]
    data: Mapping[str, Any]


class Expectation:
    """An event of which only some fields count.

    :raises InvalidEvent: there can be no such event; the message names the field.
    """

    def __init__(self, expected: Expected) -> None:
        values = dict(expected)
        self._names = list(values)
        # Not the event's: a test may expect an object with an equality of its own, such as mock.ANY.
        self._data = normalised(values.pop("data", {}))
        self._event = AuditEvent(**cast("Any", {"action": "any.action"} | values))

    def compare(self, number: int, event: AuditEvent) -> Comparison:
        """Compares the ``number``-th recorded event with what is expected."""
        return Comparison(number, event, [field for name in self._names for field in self._fields(name, event)])

    def as_fields(self) -> list[Field]:
        """Returns what is expected, field by field."""
        event = self._event.model_copy(update={"data": self._data})
        return list(self.compare(0, event).fields)

    def _fields(self, name: str, event: AuditEvent) -> list[Field]:
        match name:
            case "actor":
                return compare_part(name, self._event.actor, event.actor, ("name", "on_behalf_of"))
            case "target":
                return compare_target(self._event.targets[0], event.targets)
            case "context":
                return compare_data(name, fields_of(self._event.context), fields_of(event.context))
            case "changes":
                return compare_changes(self._event.changes, event.changes)
            case "data":
                return compare_data(name, self._data, event.data)
            case _:
                return [Field(name, getattr(self._event, name), getattr(event, name))]


def normalised(value: object) -> object:
    """Returns the value as an event holds it: ``Decimal("1.50")`` as "1.50"."""
    if isinstance(value, Mapping):
        return {key: normalised(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [normalised(item) for item in cast("Sequence[object]", value)]
    try:
        return cast("object", checked_value(value))
    except ValueError:
        return value
