"""Folds the changes of a thing's events into its state.

The changes count in the order in which they occurred, and those of one time in the order of the log: an event that was
recorded late, out of the spool or an old log, does not undo what happened after it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from pgaudit.trail.timelines.moment import Moment
from pgaudit.trail.timelines.state import State
from pgaudit.trail.timelines.told import Contradiction, FieldDifference, Told, is_same


def state_at(moments: Iterable[Moment], as_of: datetime | int | None, *, is_whole: bool) -> State:
    """Returns the state at a moment.

    :param is_whole: whether the moments are all that there are; otherwise there are unknown ones before the first.
    """
    ordered = in_time(moments)
    earlier = [moment for moment in ordered if is_until(moment, as_of)]
    state = State()
    for moment, change in changes_of(earlier):
        state.tell(change["path"], Told(change.get("after"), "after" in change, moment))
    if earlier or is_whole:
        last = time_of(earlier[-1]) if earlier else None
        look_ahead(state, [moment for moment in ordered if last is None or time_of(moment) > last])
    return state


def look_ahead(state: State, later: Sequence[Moment]) -> None:
    """Adds what the next change of each field tells of the value before."""
    changed = State()
    for moment, change in changes_of(later):
        path = change["path"]
        found, _ = changed.find(path)
        if found is None and "before" in change:
            state.learn(path, Told(change["before"], known=True, by=moment, source="before"))
        if found is None or not found.told:
            changed.tell(path, Told(None, known=False, by=moment))


def contradictions(moments: Iterable[Moment]) -> Iterator[Contradiction]:
    """Yields the changes whose value before is not what was told last, in the order in which they occurred."""
    state = State()
    for moment, change in changes_of(in_time(moments)):
        path = change["path"]
        if "before" in change:
            before = Told(change["before"], known=True, by=moment, source="before")
            for one in state.contradicted(path, before):
                if one.told:
                    yield Contradiction(path, one.told, change["before"], moment)
        state.tell(path, Told(change.get("after"), "after" in change, moment))


def differences(earlier: State, later: State) -> list[FieldDifference]:
    """Returns the fields that are not the same in two states, by their paths.

    A whole that one state tells is compared part by part where the other one tells parts of it.
    """
    paths = {*paths_beside(earlier, later), *paths_beside(later, earlier)}
    pairs = [(path, earlier.told_at(path), later.told_at(path)) for path in sorted(paths)]
    return [FieldDifference(path, before, after) for path, before, after in pairs if not is_same(before, after)]


def paths_beside(one: State, other: State) -> Iterator[str]:
    """Yields the paths of a state, after it was split where the other one has parts."""
    state = State()
    for path, leaf in one.leaves():
        if leaf.told:
            state.tell(path, leaf.told)
    for path, _ in other.leaves():
        found, keys = state.find(path)
        while found and found.told and keys and isinstance(found.told.value, dict | None):
            found.split()
            found, keys = state.find(path)
    return (path for path, _ in state.leaves())


def changes_of(moments: Iterable[Moment]) -> Iterator[tuple[Moment, dict[str, Any]]]:
    """Yields the changes that events made to the thing."""
    return ((moment, change) for moment in moments for change in moment.effect)


def in_time(moments: Iterable[Moment]) -> list[Moment]:
    """Returns the moments in the order in which they occurred."""
    return sorted(moments, key=time_of)


def time_of(moment: Moment) -> tuple[datetime, int]:
    """Returns when it occurred, and its place among those of the same time."""
    return moment.occurred_at, moment.index


def is_until(moment: Moment, as_of: datetime | int | None) -> bool:
    """Returns whether it had occurred at a time, or was in the log at an index."""
    if as_of is None:
        return True
    return moment.occurred_at <= as_of if isinstance(as_of, datetime) else moment.index <= as_of
