"""Checks the arguments of the decorator ``processor``."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Final

from pgaudit.errors import InvalidProcessor, InvalidQuery
from pgaudit.trail.query import Query, Term, parse

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
TIMES: Final = ("after", "before")


def query_of(name: str, on: str | Sequence[str] | Query) -> Query:
    """Returns the search for the events that a processor asks for.

    :raises InvalidProcessor: it is no search, or one by time.
    """
    try:
        query = on if isinstance(on, Query) else Query(tuple(terms_of(on)))
    except InvalidQuery as error:
        raise InvalidProcessor(f"processor {name}: on={on!r}: {error}") from None
    if any(term.field in TIMES for term in query.terms):
        raise InvalidProcessor(f"processor {name}: on={on!r}: it follows the log, so it cannot search by time")
    return query


def terms_of(on: str | Sequence[str]) -> Iterator[Term]:
    """Yields the terms of a search, or the one for actions."""
    if isinstance(on, str) and ":" in on:
        yield from parse(on).terms
    elif on != "*":
        yield Term("action", (on,) if isinstance(on, str) else tuple(on))


def index_of(name: str, start: object) -> int | None:
    """Returns the index with which a processor begins; None for the next event that is appended."""
    if start == "now":
        return None
    if start == "beginning":
        return 0
    if isinstance(start, int) and start >= 0:
        return start
    raise InvalidProcessor(f"processor {name}: start={start!r}: write 'now', 'beginning', or an index of the log")


def check_numbers(name: str, **numbers: float | None) -> None:
    """Raises InvalidProcessor for a number that is not above zero."""
    for argument, number in numbers.items():
        if number is not None and number <= 0:
            raise InvalidProcessor(f"processor {name}: {argument}={number!r} is not above 0; leave it out for no limit")


def check_function(name: str, function: object) -> None:
    """Raises InvalidProcessor for what cannot be called with an entry."""
    try:
        inspect.signature(function).bind(object())  # type: ignore[arg-type]  # what is not callable raises TypeError
    except (TypeError, ValueError) as error:
        raise InvalidProcessor(f"processor {name}: {function!r} cannot be called with an entry: {error}") from None
