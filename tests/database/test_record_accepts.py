"""Events that ``pgaudit.record`` accepts, each at a limit."""

import pytest

from tests.support.jobs import queued
from tests.support.queries import Connection
from tests.support.valid_events import Json, nested, record_raw, reference, valid, without


@pytest.mark.parametrize(
    "event",
    [
        valid(action=f"a.{'b' * 198}"),
        valid(action="a.b"),
        valid(action="claim_2.sub_claim.approved_2"),
        valid(outcome="failure"),
        valid(outcome="denied"),
        valid(actor=None),
        without("actor"),
        without("targets"),
        valid(targets=[]),
        valid(actor=reference("ä" * 100, "ß" * 500)),
        valid(actor=reference("x", "y")),
        valid(actor={**reference(), "display": {"name": "Zoë"}}),
        valid(targets=[reference("ä" * 100, "ß" * 500)]),
        valid(targets=[reference(id=str(number)) for number in range(200)]),
        valid(tenant=None),
        valid(tenant=""),
        valid(tenant="ä" * 500),
        nested(64),
        valid(data={"a": "_sd", "b": ["...", "_sd"], "_sd2": 1, "....": 1, 'a"_sd': 1}),
        valid(changes={"a": {"before": "_sd", "after": "..."}}),
        valid(context={"_sd": 1, "...": {"_sd": 2}}),
        valid(_sd=1, **{"...": 2}),
        valid(actor={**reference(), "_sd": 1}, targets=[{**reference(), "...": 1}]),
        *(
            valid(occurred_at=time)
            for time in (
                *("0001-01-02T00:00:00Z", "9999-12-30T23:59:59.999999Z", "2024-02-29T23:59:59Z"),
                *("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.123456+05:45", "2026-01-31T12:00:00-15:59"),
                *("0001-01-02T00:01:00+00:01", "9999-12-30T23:58:59.999999-00:01", "1969-12-31T23:59:59.999999Z"),
            )
        ),
    ],
)
def test_an_event_at_a_limit_is_accepted(scratch: Connection, event: Json) -> None:
    """An event at a limit is recorded as given, alone and among others; only the stamps are added."""
    record_raw(scratch, event)
    record_raw(scratch, valid(), event)
    first, _, third = (job["event"] for job in queued(scratch))
    stamps = {"recorded_at", "recorded_by", "xid"}
    for stored in (first, third):
        assert {key: value for key, value in stored.items() if key not in stamps} == event
        assert stamps < set(stored)
