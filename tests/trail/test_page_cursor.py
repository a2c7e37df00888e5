"""Cursors: their text, and what is refused."""

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgaudit import trail
from pgaudit.errors import InvalidQuery
from pgaudit.trail.page_cursor import NEWEST, Cursor
from pgaudit.trail.spans import ALL


@given(st.builds(Cursor, st.sampled_from(["before", "after"]), st.integers(-1, ALL.stop - 1)))
def test_the_text_of_a_cursor_is_read_as_the_same_cursor(cursor: Cursor) -> None:
    """A cursor survives the way through a link."""
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text() | st.from_regex(r"(before|after)-[-+0-9_ ]{0,21}"))
@example("before-٣")
@example("before-1\n")
@example("before-007")
@example(str(NEWEST))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """No text raises anything but InvalidQuery; one that is read has only this text."""
    read = parsed(text)
    if isinstance(read, Cursor):
        assert str(read) == text
        assert -1 <= read.index < ALL.stop
    else:
        assert "is not a cursor: pass `next` or `previous` of a page as it is" in str(read)


def parsed(text: str) -> Cursor | InvalidQuery:
    """Returns the cursor of a text, or why there is none."""
    try:
        return Cursor.parse(text)
    except InvalidQuery as error:
        return error


@pytest.mark.parametrize(
    ("cursor", "span"),
    [("before-5", range(5)), ("before-0", range(0)), ("after-5", range(6, ALL.stop)), ("after--1", ALL)],
)
def test_a_cursor_leaves_the_events_on_its_side(cursor: str, span: range) -> None:
    """The event of the index itself is on neither side."""
    assert Cursor.parse(cursor).span == span


@pytest.mark.parametrize(
    ("cursor", "indexes"),
    [
        ("before-2", [1, 0]),
        ("before-0", []),
        ("after--1", [2, 1, 0]),
        ("after-1496", [1_499, 1_498, 1_497]),
        ("after-1499", []),
        (f"before-{ALL.stop - 1}", [1_499, 1_498, 1_497]),
        (f"after-{ALL.stop - 1}", []),
    ],
)
def test_a_page_begins_at_its_cursor(log: psycopg.Connection, cursor: str, indexes: list[int]) -> None:
    """A page before or after any index is found, at the ends of the log and beyond them, too."""
    assert [entry.index for entry in trail.search(log, after=cursor, limit=3).entries] == indexes
