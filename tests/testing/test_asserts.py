"""Asserts about events: which events match, and the messages of a failure."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from unittest.mock import ANY

import pytest

from pgaudit import Actor, AuditContext, AuditEvent, Change, InvalidEvent, Target
from pgaudit.testing import assert_nothing_recorded, assert_recorded

APPROVED = AuditEvent(
    action="claim.approved",
    actor=Actor(type="user", id="42", name="Ada"),
    targets=("claim:7", Target(type="policy", id="3", role="cover")),
    reason="complete",
    tenant="acme",
    changes=[Change(path="status", before="open", after="approved")],
    context=AuditContext(request_id="r-1", ip="::1"),
    data={"amount": Decimal("10.50"), "lines": [1, 2], "payee": {"name": "Eve", "iban": None}, "urgent": True},
)
REJECTED = AuditEvent(action="claim.rejected", actor="user:42", target="claim:8", outcome="failure")
EVENTS = [APPROVED, REJECTED]


def failure_of(check: Callable[..., object], *arguments: object, **expected: Any) -> str:
    """Returns the message of a failing assert."""
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **expected)
    return str(caught.value)


@pytest.mark.parametrize(
    "expected",
    [
        {"action": "claim.approved"},
        {"target": "claim:7"},
        {"target": "policy:3"},
        {"target": Target(type="policy", id="3", role="cover")},
        {"actor": "user:42", "tenant": "acme", "reason": "complete"},
        {"actor": Actor(type="user", id="42", name="Ada")},
        {"outcome": "success"},
        {"context": {"request_id": "r-1"}},
        {"changes": [Change(path="status")]},
        {"changes": [Change(path="status", after="approved")]},
        {"data": {"amount": Decimal("10.50")}},
        {"data": {"payee": {"name": "Eve"}, "lines": (1, 2)}},
        {"data": {"amount": ANY, "payee": {"iban": None}}},
    ],
    ids=str,
)
def test_only_named_fields_are_compared(expected: Any) -> None:
    """Fields that are not named may have any value; of data and context, only the named keys are compared."""
    assert assert_recorded(EVENTS, **expected) == [APPROVED]


@pytest.mark.parametrize(
    "expected",
    [
        {"action": "claim.paid"},
        {"target": "claim:9"},
        {"target": Target(type="policy", id="3", role="payer")},
        {"action": "claim.approved", "actor": None},
        {"actor": Actor(type="user", id="42", name="Eve")},
        {"changes": [Change(path="status", before=None)]},
        {"changes": [Change(path="amount")]},
        {"context": {"request_id": "r-2"}},
        {"data": {"amount": Decimal("10.5")}},
        {"data": {"lines": [1]}},
        {"data": {"missing": None}},
        {"data": {"urgent": 1}},
        {"data": {"payee": {}}},
    ],
    ids=str,
)
def test_one_field_that_differs_is_enough_to_fail(expected: Any) -> None:
    """10.5 is not 10.50, null is not absent, 1 is not true."""
    failure_of(assert_recorded, EVENTS, **expected)


def test_a_failure_shows_the_nearest_event_field_by_field() -> None:
    """The message has the expected fields, then the nearest events: "-" is expected, "+" is recorded."""
    message = failure_of(
        assert_recorded, EVENTS, action="claim.approved", target="claim:8", data={"payee": {"name": "Ada"}}
    )
    assert message == "\n".join(
        [
            "expected exactly 1 event like this, found 0 among 2 recorded:",
            "",
            "      action           'claim.approved'",
            "      target           'claim:8'",
            "      data.payee.name  'Ada'",
            "",
            f"  closest: #1 claim.approved by user:42 on claim:7, policy:3 ({APPROVED.id})",
            "      action           'claim.approved'",
            "    - target           'claim:8'",
            "    + target           'claim:7, policy:3'",
            "    - data.payee.name  'Ada'",
            "    + data.payee.name  'Eve'",
            "",
            f"  closest: #2 claim.rejected by user:42 on claim:8 ({REJECTED.id})",
            "    - action           'claim.approved'",
            "    + action           'claim.rejected'",
            "      target           'claim:8'",
            "    - data.payee.name  'Ada'",
            "    + data.payee.name  (absent)",
        ]
    )


def test_the_nearest_of_many_are_shown() -> None:
    """The message has the three nearest events, and the number of further ones."""
    others = [AuditEvent(action="claim.viewed", target=f"claim:{number}") for number in range(5)]
    message = failure_of(assert_recorded, [*others, APPROVED], action="claim.approved", actor="user:1")
    near = [line for line in message.splitlines() if line.startswith("  closest: ")]
    assert [line.split()[1:3] for line in near] == [
        ["#6", "claim.approved"],
        ["#1", "claim.viewed"],
        ["#2", "claim.viewed"],
    ]
    assert message.endswith("and 3 others")


def test_a_failure_without_events_is_short() -> None:
    """Without events there is nothing to compare."""
    message = failure_of(assert_recorded, [], action="claim.approved")
    assert message.splitlines() == [
        "expected exactly 1 event like this, found 0 among 0 recorded:",
        "",
        "      action  'claim.approved'",
    ]


def test_an_event_is_expected_exactly_once() -> None:
    """An event that was recorded twice fails, unless the test says how often; all matches are listed."""
    twice = [APPROVED, REJECTED, APPROVED]
    message = failure_of(assert_recorded, twice, action="claim.approved")
    assert message.startswith("expected exactly 1 event like this, found 2 among 3 recorded:")
    assert [line.split()[0] for line in message.split("  found:")[1].splitlines() if line] == ["#1", "#3"]
    assert assert_recorded(twice, action="claim.approved", times=2) == [APPROVED, APPROVED]
    assert assert_recorded(twice, action="claim.approved", times=None) == [APPROVED, APPROVED]
    assert assert_recorded(twice, times=3) == twice
    assert assert_recorded(twice, action="claim.paid", times=0) == []
    assert failure_of(assert_recorded, twice, action="claim.paid", times=None).startswith(
        "expected at least 1 event like this,"
    )


def test_assert_nothing_recorded_lists_the_events() -> None:
    """The message has a line for each event."""
    assert_nothing_recorded([])
    assert failure_of(assert_nothing_recorded, [REJECTED]).splitlines() == [
        "expected no event, found 1 among 1 recorded:",
        "",
        "  found:",
        f"    #1 claim.rejected by user:42 on claim:8 ({REJECTED.id})",
    ]


def test_nothing_recorded_is_asserted_of_what_is_named() -> None:
    """Other events do not matter; the message shows what was not expected, and which events are like that."""
    assert_nothing_recorded(EVENTS, target="claim:9")
    assert_nothing_recorded(EVENTS, action="claim.approved", actor="user:1")
    message = failure_of(assert_nothing_recorded, EVENTS, target="claim:8", actor="user:42")
    assert message.splitlines() == [
        "expected no event like this, found 1 among 2 recorded:",
        "",
        "      target  'claim:8'",
        "      actor   'user:42'",
        "",
        "  found:",
        f"    #2 claim.rejected by user:42 on claim:8 ({REJECTED.id})",
    ]


@pytest.mark.parametrize(
    ("expected", "named"),
    [({"actr": "user:42"}, "actr"), ({"actor": "42"}, "actor"), ({"context": {"request": "r-1"}}, "context: request")],
)
def test_an_invalid_expectation_is_refused(expected: Any, named: str) -> None:
    """A misspelled field in the test raises InvalidEvent with the field, instead of not matching."""
    with pytest.raises(InvalidEvent, match=f"^{named}: "):
        assert_recorded(EVENTS, **expected)
