"""The fast path of ``pgaudit.record`` accepts no event that the full check refuses."""

import calendar
import json

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from pgaudit import AuditEvent
from tests.support.queries import Connection
from tests.support.valid_events import Json, nested, reference, valid


@pytest.mark.parametrize("year", [1, 1900, 2000, 2026, 2028, 2100, 9999])
def test_the_days_of_the_calendar_are_accepted_and_no_others(session: Connection, year: int) -> None:
    """Both checks accept exactly the days that Python's calendar has."""
    days = [(month, day) for month in range(14) for day in range(33)]
    exists = {(month, day) for month in range(1, 13) for day in range(1, calendar.monthrange(year, month)[1] + 1)}
    exists -= {(1, 1)} if year == 1 else {(12, 31)} if year == 9999 else set()  # an offset could lead out of the range
    found = set()
    for month, day in days:
        document = json.dumps(valid(occurred_at=f"{year:04}-{month:02}-{day:02}T12:00:00.000000Z"))
        usual, problem = session.execute(COMPARE, [document]).fetchone() or (None, None)
        assert not (usual and problem), document
        if problem is None:
            found.add((month, day))
    assert found == exists


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(["", "_sd", "...", "claim.approved", "success", "now", "x" * 99, "x" * 101, "ä" * 250, "\n"]),
    st.integers(90, 520).map("y".__mul__),
)


KEYS = st.sampled_from(["a", "type", "id", "_sd", "...", "tenant", "data", "targets", "actor", "action", '"_sd"', "x"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


DIGITS = st.integers(0, 99).map("{:02}".format)
TIMES = st.one_of(
    st.builds(
        "{}{}-{}-{}{}{}:{}:{}{}{}".format,
        st.sampled_from(["20", "19", "00", "99", "2", "200", "-20", "1", ""]),
        DIGITS,
        st.integers(0, 13).map("{:02}".format),
        st.integers(0, 32).map("{:02}".format),
        st.sampled_from(["T", "T", "T", "t", " ", ""]),
        st.integers(0, 25).map("{:02}".format),
        st.integers(0, 61).map("{:02}".format),
        st.integers(0, 61).map("{:02}".format),
        st.sampled_from([".000000", ".123456", ".12345", ".1234567", "", ".", ".1"]),
        st.sampled_from(["Z", "Z", "Z", "", "+00:00", "+01:00", "-99:00", "+00", "z", " BC", "Z\n"]),
    ),
    st.sampled_from(["2026-02-30T12:00:00.000000Z", "2026-01-31T12:00:00.000000Z", "2026-01-31T24:00:00.000000Z"]),
)


ACTIONS = st.from_regex(r"\A[a-z]{1,3}[._A-Z0-9]?([.][a-z][a-z0-9_]{0,120}){0,2}\n?\Z")
IDS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda value: str(value).upper()),
    st.uuids().map(lambda value: value.hex),
    st.uuids().map("{{{}}}".format),
    SCALARS,
)


REFERENCES = st.one_of(
    st.builds(reference, type=SCALARS),
    st.builds(reference, id=SCALARS),
    st.dictionaries(KEYS, SCALARS, max_size=3),
    VALUES,
)


DEEP = st.integers(55, 70).map(lambda depth: nested(depth)["data"])
MUTATIONS = st.one_of(
    st.fixed_dictionaries({"id": IDS}),
    st.fixed_dictionaries({"action": st.one_of(ACTIONS, VALUES)}),
    st.fixed_dictionaries({"outcome": st.one_of(st.sampled_from(["success", "failure", "denied", "Success"]), VALUES)}),
    st.fixed_dictionaries({"occurred_at": st.one_of(TIMES, TIMES, VALUES)}),
    st.fixed_dictionaries({"actor": REFERENCES}),
    st.fixed_dictionaries({"targets": st.one_of(st.lists(REFERENCES, max_size=2), VALUES)}),
    st.fixed_dictionaries({"tenant": VALUES}),
    st.fixed_dictionaries({"data": st.one_of(VALUES, DEEP)}),
    st.fixed_dictionaries({"changes": st.one_of(VALUES, DEEP)}),
    st.dictionaries(KEYS, st.one_of(VALUES, DEEP), max_size=1),
)


FIELDS = st.sampled_from(["id", "action", "outcome", "occurred_at", "actor", "targets"])
COMPARE = """
    SELECT pgaudit.is_usual(event, event::text), pgaudit.event_problem(event, event::text)
      FROM (SELECT %s::jsonb || '{"recorded_at": "2026-01-31T12:00:00Z", "recorded_by": "app", "xid": "7"}'
            OFFSET 0) given (event)
"""


@example_settings(deadline=None, max_examples=1_000)
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=2), dropped=st.lists(FIELDS, max_size=1), drop=st.booleans())
def test_the_fast_path_accepts_nothing_that_is_refused(
    session: Connection, mutations: list[Json], dropped: list[str], drop: bool
) -> None:
    """An event that is_usual accepts has no problem by event_problem; neither function raises."""
    event = valid()
    for mutation in mutations:
        event.update(mutation)
    for field in dropped if drop else []:
        event.pop(field, None)
    document = json.dumps(event)
    usual, problem = session.execute(COMPARE, [document]).fetchone() or (None, None)
    assert problem is None or not usual, document


def test_the_fast_path_takes_the_usual_event(scratch: Connection) -> None:
    """Events as the library makes them take the fast path, so the comparison above is not empty."""
    event = AuditEvent(action="claim.approved", actor="user:42", target="claim:7", tenant="acme", data={"sum": 7})
    assert scratch.execute(COMPARE, [event.to_json()]).fetchone() == (True, None)
    assert scratch.execute(COMPARE, [json.dumps(valid())]).fetchone() == (True, None)
