"""Declaring processors: what the decorator takes, and what it refuses."""

from typing import Any

import pytest

import pgaudit
from pgaudit.errors import InvalidProcessor
from pgaudit.processors.declaration import DECLARED


async def handle(_entry: pgaudit.ProcessorEntry) -> None:
    """Does nothing."""


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("Large claims", {"on": "*"}, "is no name for a processor: it has 1 to 63 lower-case letters"),
        ("a", {"on": "claim approved"}, "processor a: on='claim approved': "),
        ("a", {"on": "colour:red"}, "processor a: on='colour:red': "),
        ("a", {"on": "action:x before:7d"}, "it follows the log, so it cannot search by time"),
        ("a", {"on": "*", "when": 7}, "when is a function that takes an entry, not 7"),
        ("a", {"on": "*", "timeout": 0}, "processor a: timeout=0 is not above 0; leave it out for no limit"),
        ("a", {"on": "*", "concurrency": -1}, "processor a: concurrency=-1 is not above 0"),
        ("a", {"on": "*", "rate": 0}, "processor a: rate=0 is not above 0"),
        ("a", {"on": "*", "break_after": 0}, "processor a: break_after=0 is not above 0"),
        ("a", {"on": "*", "retry": 0}, "attempts=0: a processor tries an event 1 to 1,000 times"),
        ("a", {"on": "*", "start": "yesterday"}, "start='yesterday': write 'now', 'beginning', or an index of the log"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, given: dict[str, Any], message: str) -> None:
    """A wrong argument is refused when the module is imported, in a sentence that says what to write."""
    with pytest.raises(InvalidProcessor) as refused:
        pgaudit.processor(name, **given)(handle)
    assert message in str(refused.value)
    assert not DECLARED


def test_a_function_without_an_argument_is_refused() -> None:
    """A processor is called with an entry."""

    def without() -> None:
        """Takes nothing."""

    with pytest.raises(InvalidProcessor, match="cannot be called with an entry: too many positional arguments"):
        pgaudit.processor("a", on="*")(without)  # type: ignore[type-var]


def test_two_functions_cannot_have_one_name() -> None:
    """The error names both."""
    pgaudit.processor("a", on="*")(handle)
    with pytest.raises(InvalidProcessor, match=r"there are two processors a: .*\.handle and .*\.<lambda>"):
        pgaudit.processor("a", on="*")(lambda _entry: None)


def test_a_module_can_be_imported_again() -> None:
    """The same function replaces itself, with its new properties."""
    pgaudit.processor("a", on="*")(handle)
    assert pgaudit.processor("a", on="*", rate=5)(handle) is handle
    assert DECLARED["a"].rate == 5


@pytest.mark.parametrize(
    ("on", "query"),
    [
        ("*", ""),
        ("claim.*", "action:claim.*"),
        (["claim.approved", "claim.denied"], "action:claim.approved,claim.denied"),
        ("outcome:denied actor:user:42", "outcome:denied actor:user:42"),
    ],
)
def test_on_is_actions_or_a_search(on: Any, query: str) -> None:
    """One action, several, a pattern, a whole search, or everything."""
    pgaudit.processor("a", on=on)(handle)
    assert str(DECLARED["a"].query) == query
