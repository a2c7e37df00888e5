"""Searching the log finds what a query means, page by page, in both directions."""

from datetime import timedelta
from random import Random

import psycopg
import pytest

from pgaudit import indexes as indexes_module
from pgaudit import trail
from pgaudit.trail import Query, Term, looks
from pgaudit.trail.paging import Page
from tests.trail.conftest import ACTIONS, EVENTS
from tests.trail.oracle import matching

VALUES: dict[str, list[tuple[str, ...]]] = {
    "action": [(action,) for action in ACTIONS] + [("claim.*",), ("nothing.*",), ("*",), ("claim.denied", "user.*")],
    "actor": [("user:1",), ("user:*",), ("service:billing",), ("user:1", "user:2"), ("user:9",)],
    "target": [("claim:1",), ("policy:2",), ("claim:*",), ("policy:0", "claim:4"), ("claim:99",)],
    "tenant": [("north",), ('a "quoted", one',), ("north", "south"), ("east",), ()],
    "outcome": [("success",), ("denied",), ("failure", "denied"), ("success", "denied")],
    "request": [("r-1",), ("r-2", "r-3")],
    "ip": [("10.0.0.1",)],
    "data": [('{"amount": "10.50"}',), ('{"lines": [{"n": 3}]}',), ("{}",)],
    "data.n": [("3",), ("3", "5")],
    "data.amount": [("10.50",)],
    "changes": [("status",), ('{"path": "status", "after": "paid"}',), ("iban",)],
}


def every_page(conn: psycopg.Connection, query: Query, limit: int) -> list[Page]:
    """Returns the pages of a query, from the newest to the oldest."""
    pages = [trail.search(conn, query, limit=limit)]
    while pages[-1].next:
        pages.append(trail.search(conn, query, after=pages[-1].next, limit=limit))
    return pages


def indexes(pages: list[Page]) -> list[int]:
    """Returns the indexes of all entries."""
    return [entry.index for page in pages for entry in page.entries]


def random_query(random: Random, log: list[trail.Entry]) -> Query:
    """Returns a query of one to three terms, some of them negated, some about times in the log."""
    terms: list[Term] = []
    for _ in range(random.randint(1, 3)):
        if random.random() < 0.2:
            field = random.choice(["after", "before", "occurred_after", "occurred_before"])
            moment = random.choice(log).recorded_at + timedelta(microseconds=random.randint(-1, 1))
            terms.append(Term(field, (moment.isoformat(),)))
        else:
            field = random.choice(list(VALUES))
            terms.append(Term(field, random.choice(VALUES[field]), random.random() < 0.2))
    return Query(tuple(terms))


@pytest.fixture(scope="module")
def entries(log: psycopg.Connection) -> list[trail.Entry]:
    """All entries of the log."""
    found = trail.last(log, EVENTS)
    assert [entry.index for entry in found] == list(range(EVENTS))
    return found


@pytest.mark.parametrize("first_rows", [1, 7, 500])
def test_a_search_finds_what_its_query_means(
    log: psycopg.Connection, entries: list[trail.Entry], first_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60 random queries, the pages in either direction, the count and the stream have exactly the right events."""
    monkeypatch.setattr(looks, "FIRST_ROWS", first_rows)
    random = Random(first_rows)
    for _ in range(60):
        query = random_query(random, entries)
        expected = matching(entries, query)
        pages = every_page(log, query, random.choice([17, 50, 1_000]))
        assert indexes(pages) == expected, str(query)
        assert indexes(backwards(log, query, pages)) == expected, str(query)
        assert trail.count(log, query, EVENTS) == trail.Count(len(expected), exact=True)
        assert [entry.index for page in trail.pages(log, query) for entry in page] == expected[::-1], str(query)


def backwards(conn: psycopg.Connection, query: Query, pages: list[Page]) -> list[Page]:
    """Returns the pages of a query, walked from the last one to the newest, and put into order again."""
    found = [pages[-1]]
    while found[-1].previous:
        found.append(trail.search(conn, query, after=found[-1].previous, limit=len(pages[0].entries) or 1))
    return found[::-1]


@pytest.mark.parametrize("name", ["request", "data.n", "data", "changes"])
def test_a_search_finds_the_same_with_a_chosen_index(
    log: psycopg.Connection, entries: list[trail.Entry], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that the owner has added changes how a query is answered, and not what it finds."""
    monkeypatch.setattr(looks, "FIRST_ROWS", 10)
    monkeypatch.setattr(looks, "RARE", 1)
    indexes_module.add(log, name)
    random = Random(name)
    try:
        for values in VALUES[name]:
            query = Query((Term(name, values), Term("tenant", ("north", "south"), negated=random.random() < 0.5)))
            expected = matching(entries, query)
            assert indexes(every_page(log, query, 20)) == expected, str(query)
            assert indexes(every_page(log, Query((Term(name, values),)), 50)) == matching(
                entries, Query((Term(name, values),))
            )
    finally:
        indexes_module.remove(log, name)
