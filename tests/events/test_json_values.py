"""Values in events: which become strings, which stay, and which jsonb cannot hold."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from pgaudit import AuditEvent, Change, InvalidEvent
from pgaudit.events.json_values import MAX_DEPTH


class Colour(StrEnum):
    """An enum of strings."""

    RED = "red"


class Level(IntEnum):
    """An enum of integers."""

    HIGH = 3


class Amount(Enum):
    """An enum of something else."""

    ONE = Decimal("1.00")


def stored(value: object) -> Any:
    """Returns the value as the data of an event has it."""
    return AuditEvent(action="claim.approved", data={"value": value}).data["value"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Decimal("1000.00"), "1000.00"),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
        (time(12, tzinfo=UTC), "12:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (Level.HIGH, "3"),
        (Amount.ONE, "1.00"),
        (("a", 1), ["a", 1]),
        ({"a": {"b": [True, None, 1.5]}}, {"a": {"b": [True, None, 1.5]}}),
        (1e300, int(1e300)),
        (2**200, 2**200),
        ("", ""),
        ({}, {}),
    ],
)
def test_a_value_is_kept_as_json_will_return_it(given: object, kept: object) -> None:
    """Decimals, dates, UUIDs and enums become strings; JSON's own types stay."""
    assert stored(given) == kept
    assert type(stored(given)) is type(kept)
    assert Change(path="status", after=given).after == kept


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not a number"),
        (float("inf"), "not a number"),
        (float("-inf"), "not a number"),
        (Decimal("NaN"), "not a number"),
        (Decimal("Infinity"), "not a number"),
        ("a\0b", "NUL"),
        ("\ud83d", "lone surrogate"),
        ({"a\0": 1}, "NUL"),
        ({"\udc00": 1}, "lone surrogate"),
        ({1: "x"}, "JSON keys are strings"),
        ({None: "x"}, "JSON keys are strings"),
        (datetime(2026, 3, 1), "time zone"),  # noqa: DTZ001 - naive on purpose
        pytest.param(10**5_000, "digits", id="too many digits"),
        (b"bytes", "no JSON form"),
        ({1, 2}, "no JSON form"),
        (object(), "no JSON form"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_by_name(value: object, reason: str) -> None:
    """The message has field, key and reason."""
    with pytest.raises(InvalidEvent, match=rf"data: 'outer': 'inner': .*{reason}"):
        AuditEvent(action="claim.approved", data={"outer": {"inner": value}})
    with pytest.raises(InvalidEvent, match=rf"before: .*{reason}"):
        Change(path="status", before=value)


def nested(depth: int, kind: type) -> Any:
    """Returns a list or dict with that many levels inside."""
    value: Any = "end"
    for _ in range(depth):
        value = [value] if kind is list else {"in": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_ends_at_thirty_two(kind: type) -> None:
    """MAX_DEPTH levels are accepted; one more is refused, and so is a value that contains itself."""
    assert AuditEvent(action="claim.approved", data={"a": nested(MAX_DEPTH - 1, kind)})
    with pytest.raises(InvalidEvent, match=r"data: 'a': .*nested more than 32 deep"):
        AuditEvent(action="claim.approved", data={"a": nested(MAX_DEPTH, kind)})
    with pytest.raises(InvalidEvent, match="nested more than 32 deep"):
        AuditEvent(action="claim.approved", data=endless())


def endless() -> dict[str, Any]:
    """Returns a dict that contains itself."""
    value: dict[str, Any] = {}
    value["again"] = value
    return value


def test_data_is_a_copy() -> None:
    """A later change of the caller's dict does not change the event."""
    given = {"list": [1]}
    event = AuditEvent(action="claim.approved", data=given)
    given["list"].append(2)
    assert event.data == {"list": [1]}
