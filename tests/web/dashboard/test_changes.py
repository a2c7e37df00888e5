"""Changes as the page of an event shows them: which words differ, unless comparing them would take too long."""

import time

import pytest

from pgaudit.web.dashboard.event_views import changes_of


def test_the_words_that_differ_are_marked() -> None:
    """In texts that are long enough to be compared."""
    (change,) = changes_of(
        [{"path": "note", "before": "the roof has burnt down", "after": "the roof was burnt down again"}]
    )
    assert str(change.before) == "the roof <del>has</del> burnt down"
    assert "<ins>was</ins>" in str(change.after)


@pytest.mark.parametrize(
    "changes",
    [
        [("a " * 500, "b " * 500)],
        [("a b c " * 160, "c b a " * 160)],
        [("a " * 50 + "b", "b " + "a " * 50)] * 300,
    ],
    ids=["other words", "few words", "many changes"],
)
def test_no_text_keeps_the_server_busy(changes: list[tuple[str, str]]) -> None:
    """An event of 64 kB is shown in a part of a second, whatever words are repeated in it."""
    begun = time.process_time()
    shown = changes_of([{"path": "note", "before": before, "after": after} for before, after in changes])
    assert time.process_time() - begun < 0.5
    assert len(shown) == len(changes)
