"""Asserts about what was recorded, with a report that shows what came nearest."""

from collections.abc import Sequence
from typing import Unpack, cast

from pgaudit.events import AuditEvent
from pgaudit.testing.expectation import Expectation, Expected
from pgaudit.testing.report import unexpected_number
from pgaudit.testing.trail import events_of


def assert_recorded(recorded: object, *, times: int | None = 1, **expected: Unpack[Expected]) -> list[AuditEvent]:
    """Fails unless exactly ``times`` events match what is expected.

    >>> assert_recorded(conn, action="claim.approved", target="claim:7", actor="user:42", data={"amount": "1000.00"})

    :param recorded: events, or a connection whose log and queue are read.
    :param times: None for once or more.
    :param expected: what the event has to be; what is left out may be anything.
    :returns: the events that are like that, in the order in which they were recorded.
    :raises InvalidEvent: no event can be as expected; the message names the field.
    """
    __tracebackhide__ = True
    expectation = Expectation(expected)
    compared = [expectation.compare(place, event) for place, event in enumerate(found_in(recorded), start=1)]
    matching = [one for one in compared if one.mismatches == 0]
    if not (matching if times is None else len(matching) == times):
        others = [one for one in compared if one.mismatches]
        raise AssertionError(unexpected_number(times, expectation.as_fields(), matching, others))
    return [one.event for one in matching]


def assert_nothing_recorded(recorded: object, **expected: Unpack[Expected]) -> None:
    """Fails if there is any event, or any that matches what is named.

    >>> assert_nothing_recorded(conn, target="claim:8")

    :param recorded: events, or a connection whose log and queue are read.
    :param expected: what no event may be; what is left out may be anything.
    :raises InvalidEvent: no event can be like that; the message names the field.
    """
    __tracebackhide__ = True
    assert_recorded(recorded, times=0, **expected)


def found_in(recorded: object) -> Sequence[AuditEvent]:
    """Returns the events themselves, or those of a connection's database."""
    return cast("Sequence[AuditEvent]", recorded) if isinstance(recorded, Sequence) else events_of(recorded)
