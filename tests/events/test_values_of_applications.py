"""Values as applications have them: kept by documented rules, or refused with advice that fits the type."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from django.http import QueryDict
from django.utils.functional import lazystr
from pydantic import BaseModel
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


class Scalar:
    """What a scalar of numpy looks like."""

    dtype = "int64"

    def item(self) -> int:
        """Returns the Python number."""
        return 7


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
        (Scalar(), 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_kept(value: Any, expected: Any) -> None:
    """By the rules of docs/reference/python.md."""
    assert kept(value) == expected


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
