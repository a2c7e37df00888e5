"""The state that changes are folded into, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgaudit.trail import Moment, Stop, Timeline, Told
from pgaudit.trail.timelines.state import State
from pgaudit.trail.timelines.told import is_equal

START = datetime(2026, 3, 1, tzinfo=UTC)
Change = dict[str, Any]
PATHS = ["status", "amount", "address", "address.city", "address.zip", "address.geo", "address.geo.lat"]
DEEPEST = ["status", "amount", "address.city", "address.zip", "address.geo.lat", "address.geo.lng"]
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.5, "", "x", [], ["x"]])
VALUES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(st.sampled_from(["city", "zip", "geo", "lat", "lng"]), inner, max_size=3)
)
CHANGES = st.fixed_dictionaries({"path": st.sampled_from(PATHS)}, optional={"before": VALUES, "after": VALUES})
FLAT = st.fixed_dictionaries(
    {"path": st.sampled_from(["status", "amount", "iban"])}, optional={"before": SCALARS, "after": SCALARS}
)


def moment(index: int, *changes: Change, hours: float | None = None, **fields: Any) -> Moment:
    """Returns an event that occurred so many hours after the start; as many as its index by default."""
    occurred = START + timedelta(hours=index if hours is None else hours)
    usual: dict[str, Any] = {"action": "claim.changed", "outcome": "success", "actor": "user:42", "reason": None}
    usual |= {"target": "claim:7", "is_subject": True}
    return Moment(index, UUID(int=index), occurred, occurred, **(usual | fields), changes=changes)


def life(*moments: Moment, stopped: Stop | None = None) -> Timeline:
    """Returns the timeline of these moments."""
    return Timeline("claim:7", moments, stopped)


def lives(changes: st.SearchStrategy[Change]) -> st.SearchStrategy[Timeline]:
    """Returns a strategy for timelines, some events of which have occurred in another order than that of the log."""
    event = st.tuples(
        st.lists(changes, max_size=2), st.integers(0, 9), st.sampled_from(["success"] * 3 + ["denied"]), st.booleans()
    )

    def timeline(events: list[tuple[list[Change], int, str, bool]]) -> Timeline:
        return life(
            *(
                moment(
                    index, *changes, hours=index + 3 * (hours // 8), outcome=outcome, is_subject=subject or hours > 2
                )
                for index, (changes, hours, outcome, subject) in enumerate(events)
            )
        )

    return st.lists(event, max_size=12).map(timeline)


def values(state: dict[str, Told]) -> dict[str, Any]:
    """Returns the known values."""
    return {path: told.value for path, told in state.items() if told.known}


def fact(state: State, path: str) -> tuple[bool, Any]:
    """Returns whether a path is known, and its value."""
    told = state.told_at(path)
    return (True, told.value) if told and told.known else (False, None)


def tree(state: dict[str, Told]) -> State:
    """Returns a state as a tree."""
    result = State()
    for path, told in state.items():
        result.tell(path, told)
    return result


def relevant(timeline: Timeline, path: str) -> list[tuple[Moment, Change]]:
    """Returns the changes of one path, in the order in which they occurred."""
    ordered = sorted(timeline.moments, key=lambda moment: (moment.occurred_at, moment.index))
    return [
        (one, change)
        for one in ordered
        if one.outcome == "success" and one.is_subject
        for change in one.changes
        if change["path"] == path
    ]


def expected(timeline: Timeline, path: str, time: datetime) -> tuple[bool, Any]:
    """Returns whether a field without parts is known at a time, and its value: a model of what the state must say."""
    changes = relevant(timeline, path)
    earlier = [change for one, change in changes if one.occurred_at <= time]
    later = [change for one, change in changes if one.occurred_at > time]
    if earlier and "after" in earlier[-1]:
        return True, earlier[-1]["after"]
    return (True, later[0]["before"]) if later and "before" in later[0] else (False, None)


@given(lives(FLAT), st.integers(-1, 14))
def test_the_state_is_that_of_a_naive_model(timeline: Timeline, hours: int) -> None:
    """At any time a field has what its last change until then told, or its next change, or else it is unknown."""
    time = START + timedelta(hours=hours)
    state = tree(timeline.state(time))
    for path in ("status", "amount", "iban"):
        known, value = fact(state, path)
        model_known, model_value = expected(timeline, path, time)
        assert known == model_known, path
        assert is_equal(value, model_value), path


@given(lives(CHANGES), st.integers(-1, 14))
def test_nothing_is_known_that_no_event_has_told(timeline: Timeline, hours: int) -> None:
    """Each known value is in the event that it is said to be from, under its path or that of a whole."""
    state = timeline.state(START + timedelta(hours=hours))
    for path, told in state.items():
        said = [change for change in told.by.effect if (path + ".").startswith(change["path"] + ".")]
        assert said, path
        if told.known:
            assert any(is_told(change, told, path) for change in said), path
        assert not any(other.startswith(path + ".") for other in state), "a whole and its part are told"


def is_told(change: Change, told: Told, path: str) -> bool:
    """Returns whether a change tells a value of a path."""
    value = change.get(told.source)
    for key in path.split(".")[len(change["path"].split(".")) :]:
        value = cast("Change", value).get(key) if isinstance(value, dict) else None
    return told.source in change and is_equal(value, told.value)


@given(lives(CHANGES), st.integers(-1, 14), st.integers(-1, 14))
def test_the_earlier_state_and_the_difference_are_the_later_state(timeline: Timeline, first: int, second: int) -> None:
    """Telling the differences to the earlier state makes it the later one, in each part of each field.

    Except for parts of which neither state says more than that the whole does not have them.
    """
    earlier, later = (START + timedelta(hours=hours) for hours in sorted((first, second)))
    before, after = timeline.state(earlier), timeline.state(later)
    made = tree(before)
    for difference in timeline.difference(earlier, later):
        made.tell(difference.path, difference.after or Told(None, known=False, by=timeline.moments[0]))
    for path in DEEPEST:
        found, wanted = fact(made, path), fact(tree(after), path)
        is_missing = not fact(tree(before), path)[0] and wanted == (True, None) and path not in after
        assert is_missing or (found[0] == wanted[0] and is_equal(found[1], wanted[1])), path


@given(lives(CHANGES), st.integers(-1, 14))
def test_a_moment_does_not_differ_from_itself(timeline: Timeline, hours: int) -> None:
    """There is no difference between a moment and the same moment."""
    time = START + timedelta(hours=hours)
    assert timeline.difference(time, time) == []


def test_the_newest_change_counts() -> None:
    """The state names the event that told the value, and None stands for a field that was removed."""
    first = moment(0, {"path": "status", "after": "open"}, {"path": "note", "after": "x"})
    second = moment(1, {"path": "status", "before": "open", "after": "paid"}, {"path": "note", "after": None})
    assert life(first, second).state() == {
        "status": Told("paid", known=True, by=second),
        "note": Told(None, known=True, by=second),
    }
    assert life(first, second).state(0) == {
        "status": Told("open", known=True, by=first),
        "note": Told("x", known=True, by=first),
    }


def test_a_value_may_be_told_by_the_next_change_only() -> None:
    """Before the first change, a field has the value that this one tells as the one before it."""
    change = moment(3, {"path": "status", "before": "open", "after": "paid"}, {"path": "iban", "after": "NL00"})
    assert life(change).state(2) == {"status": Told("open", known=True, by=change, source="before")}


def test_a_change_without_its_result_makes_a_field_unknown() -> None:
    """The older value no longer holds; the event that changed it is named."""
    first = moment(0, {"path": "iban", "after": "NL00"})
    second = moment(1, {"path": "iban"})
    assert life(first, second).state() == {"iban": Told(None, known=False, by=second)}


def test_a_whole_replaces_its_parts() -> None:
    """Of an address that was told as a whole, older values of its parts are forgotten."""
    part = moment(0, {"path": "address.city", "after": "Delft"}, {"path": "addressee", "after": "A"})
    whole = moment(1, {"path": "address", "after": {"zip": "1000"}})
    assert values(life(part, whole).state()) == {"address": {"zip": "1000"}, "addressee": "A"}


def test_a_part_leaves_the_rest_of_a_whole() -> None:
    """After a change of the city, the other parts of the address are what the older event told."""
    whole = moment(0, {"path": "address", "after": {"city": "Delft", "geo": {"lat": 1, "lng": 2}}})
    part = moment(1, {"path": "address.geo.lat", "before": 1, "after": 3})
    state = life(whole, part).state()
    assert values(state) == {"address.city": "Delft", "address.geo.lat": 3, "address.geo.lng": 2}
    assert [told.by.index for told in state.values()] == [0, 1, 0]


def test_positions_of_a_list_are_not_guessed() -> None:
    """When one element is changed, others may have moved: of the rest of the list nothing is known."""
    whole = moment(0, {"path": "lines", "after": ["a", "b"]})
    part = moment(1, {"path": "lines.0", "after": "c"})
    assert values(life(whole, part).state()) == {"lines.0": "c"}


@pytest.mark.parametrize("fields", [{"outcome": "denied"}, {"outcome": "failure"}, {"is_subject": False}])
def test_an_event_that_changed_nothing_tells_nothing(fields: dict[str, Any]) -> None:
    """The changes of an event that was denied, has failed, or changed another thing do not count."""
    first = moment(0, {"path": "status", "after": "open"})
    other = moment(1, {"path": "status", "before": "new", "after": "paid"}, **fields)
    assert values(life(first, other).state()) == {"status": "open"}
    assert life(first, other).contradictions() == []


def test_an_event_that_was_recorded_late_does_not_undo_what_happened_after_it() -> None:
    """What counts is when it occurred; an index asks what the log told then."""
    paid = moment(0, {"path": "status", "before": "open", "after": "paid"}, hours=5)
    late = moment(1, {"path": "status", "before": "new", "after": "open"}, hours=2)
    timeline = life(paid, late)
    assert values(timeline.state()) == {"status": "paid"}
    assert values(timeline.state(START + timedelta(hours=3))) == {"status": "open"}
    assert values(timeline.state(0)) == {"status": "paid"}
    assert timeline.contradictions() == []


def test_a_change_without_an_event_is_shown() -> None:
    """A value before that is not what was told last contradicts it; the state in between says so."""
    first = moment(0, {"path": "status", "after": "open"}, {"path": "address", "after": {"city": "Delft", "zip": "1"}})
    second = moment(1, {"path": "status", "before": "held", "after": "paid"}, {"path": "address.city", "before": "X"})
    found = life(first, second).contradictions()
    assert [(one.path, one.told.value, one.told.by, one.before, one.by) for one in found] == [
        ("status", "open", first, "held", second),
        ("address.city", {"city": "Delft", "zip": "1"}, first, "X", second),
    ]
    state = life(first, second).state(0)
    assert {path: told.contradicted_by for path, told in state.items()} == {"status": second, "address": second}
    assert life(first, second).state()["status"] == Told("paid", known=True, by=second)


def test_a_whole_contradicts_its_parts() -> None:
    """The value before a change of a whole is compared with each part that was told."""
    part = moment(0, {"path": "address.city", "after": "Delft"}, {"path": "address.zip", "after": True})
    whole = moment(1, {"path": "address", "before": {"city": "Delft", "zip": 1}, "after": None})
    (found,) = life(part, whole).contradictions()
    assert (found.path, found.told.value) == ("address", True), "in JSON, true is not 1"


def test_a_whole_and_its_parts_differ_part_by_part() -> None:
    """Parts that are the same are left out, and those that are missing in the whole are gone."""
    whole = moment(0, {"path": "address", "after": {"city": "Delft", "zip": "1"}}, {"path": "status", "after": "open"})
    part = moment(1, {"path": "address.city", "after": "Breda"}, {"path": "address.street", "after": "A"})
    found = [
        (one.path, one.before and one.before.value, one.after and one.after.value)
        for one in life(whole, part).difference(0)
    ]
    assert found == [("address.city", "Delft", "Breda"), ("address.street", None, "A")]


def test_what_was_not_read_is_unknown() -> None:
    """If older events were left out, nothing is said about the time before the first that was read."""
    change = moment(7, {"path": "status", "before": "open", "after": "paid"})
    stopped = Stop(7, change.recorded_at, 1)
    assert life(change, stopped=stopped).state(6) == {}
    assert values(life(change, stopped=stopped).state()) == {"status": "paid"}


def test_a_time_needs_a_zone() -> None:
    """A naive datetime is refused with a sentence that says what to pass."""
    with pytest.raises(ValueError, match="pass an aware datetime"):
        life().state(datetime(2026, 3, 1))  # noqa: DTZ001 - this is the mistake
