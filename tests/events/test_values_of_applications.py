"""Values as applications have them: kept by documented rules, or refused with advice that fits the type."""

import datetime as dt
from array import array
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.http import QueryDict
from django.utils.functional import lazystr
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import Range as SqlalchemyRange
from starlette.datastructures import FormData
from werkzeug.datastructures import MultiDict

from pgaudit import AuditEvent, InvalidEvent
from tests.support import django_project

django_project.configure()


@dataclass
class Money:
    """An amount of the application."""

    amount: Decimal
    currency: str


class Address(BaseModel):
    """A pydantic model of the application."""

    city: str
    since: dt.date


class Peril(str, Enum):  # noqa: UP042 - as Django's TextChoices is, its str() is not its value
    """An enum of strings."""

    FIRE = "fire"


class Level(IntEnum):
    """An enum of integers."""

    HIGH = 3


ONE_TO_FIVE = {"lower": 1, "upper": 5, "bounds": "[)", "empty": False}
NOTHING = {"lower": None, "upper": None, "bounds": "[)", "empty": True}
YEAR = {"lower": "2026-01-01", "upper": None, "bounds": "[)", "empty": False}


def kept(value: Any) -> Any:
    """Returns the value as an event keeps it."""
    return AuditEvent(action="claim.approved", data={"value": value}).data["value"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.time(9, 30), "09:30:00"),
        (dt.timedelta(days=1, seconds=30), "P1DT30S"),
        (ip_address("2001:db8::1"), "2001:db8::1"),
        (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (Money(Decimal("1.50"), "EUR"), {"amount": "1.50", "currency": "EUR"}),
        (Address(city="Kiel", since=dt.date(2026, 1, 2)), {"city": "Kiel", "since": "2026-01-02"}),
        (lazystr("open"), "open"),
        (np.int64(7), 7),
        (np.float32(1.5), 1.5),
        (np.array([True])[0], True),
        (np.timedelta64(5, "s"), "PT5S"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.array(7), 7),
        (np.array([7]), [7]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([]), []),
        (Range(1, 5), ONE_TO_FIVE),
        (NumericRange(1, 5), ONE_TO_FIVE),
        (SqlalchemyRange(1, 5), ONE_TO_FIVE),
        (Range(empty=True), NOTHING),
        (SqlalchemyRange(empty=True), NOTHING),
        (DateRange(dt.date(2026, 1, 1), None), YEAR),
        (Multirange([Range(1, 5)]), [ONE_TO_FIVE]),
        (deque([1, 2]), [1, 2]),
        (array("i", [1, 2]), [1, 2]),
        ({Peril.FIRE: 1}, {"fire": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_kept(value: Any, expected: Any) -> None:
    """Values are converted as docs/reference/python.md says."""
    assert kept(value) == expected
    assert type(kept(value)) is type(expected)


@pytest.mark.parametrize(
    "form",
    [
        QueryDict("a=1&a=2&b=3"),
        MultiDict([("a", "1"), ("a", "2"), ("b", "3")]),
        FormData([("a", "1"), ("a", "2"), ("b", "3")]),
    ],
    ids=lambda form: type(form).__module__,
)
def test_all_values_of_a_form_are_kept(form: Any) -> None:
    """Several values of a name are a list; a single one is itself."""
    assert kept(form) == {"a": ["1", "2"], "b": "3"}
    assert AuditEvent(action="claim.approved", data=form).data == {"a": ["1", "2"], "b": "3"}


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (b"\x00\x01", "base64"),
        (bytearray(b"\x00"), "base64"),
        (memoryview(b"\x00"), "base64"),
        (np.bytes_(b"\x00"), "base64"),
        (np.datetime64("2026-01-02T03:04:05", "ns"), "aware datetime"),
        (np.datetime64("NaT", "D"), "None for NaT"),
        (np.timedelta64(5, "M"), "timedelta"),
        (np.longdouble("1.5"), r"float\(value\)"),
        (np.array([1, np.nan]), "nan is not a number"),
        (np.int64, "is a class"),
        ({"a": 1}.keys(), r"list\(value\)"),
        (range(3), r"list\(value\)"),
        ({UUID(int=1): "x"}, r"str\(key\)"),
        ({Level.HIGH: "x"}, r"key\.value"),
        ({None: "x"}, "use a name"),
        ({1, 2}, r"sorted\(value\)"),
        ({Decimal(1): "x"}, r"str\(key\)"),
        (dt.datetime(2026, 1, 2), "datetime.now"),  # noqa: DTZ001 - that is the point
        (object(), "convert it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_is_refused_with_advice(value: Any, advice: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(InvalidEvent, match=advice):
        kept(value)
