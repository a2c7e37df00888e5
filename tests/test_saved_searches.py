"""Searches that users keep in the database, through the role of a reader."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import saved_searches
from pgaudit.errors import SearchNotSaved
from pgaudit.grants import grant
from tests.support.queries import Connection
from tests.support.roles import temporary_roles


@pytest.fixture
def reader(dsn: str) -> Iterator[Connection]:
    """A connection of a reader, in autocommit."""
    with temporary_roles(dsn, "t_search_reader"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_search_reader")
        with psycopg.connect(dsn, user="t_search_reader", autocommit=True) as conn:
            yield conn


def texts(conn: Connection, owner: str) -> dict[str, str]:
    """Returns the text of each search of a user, by its name."""
    return {search.name: search.query for search in saved_searches.saved(conn, owner)}


def test_searches_are_saved_replaced_and_deleted(reader: Connection) -> None:
    """A search belongs to its user, and has a name of its own among theirs."""
    saved_searches.save(reader, "user:1", "denied", "outcome:denied")
    saved_searches.save(reader, "user:1", "Änderungen", 'data:"x"')
    saved_searches.save(reader, "user:2", "denied", "outcome:denied tenant:north")
    (first,) = (search for search in saved_searches.saved(reader, "user:1") if search.name == "denied")
    saved_searches.save(reader, "user:1", "denied", "outcome:denied after:7d")
    assert texts(reader, "user:1") == {"denied": "outcome:denied after:7d", "Änderungen": 'data:"x"'}
    assert texts(reader, "user:2") == {"denied": "outcome:denied tenant:north"}
    assert saved_searches.saved(reader, "user:1")[0].created_at > first.created_at
    assert saved_searches.delete(reader, "user:1", "denied")
    assert not saved_searches.delete(reader, "user:1", "denied")
    assert not saved_searches.delete(reader, "user:1", "a name\0")
    assert texts(reader, "user:1") == {"Änderungen": 'data:"x"'}
    assert texts(reader, "user:2") == {"denied": "outcome:denied tenant:north"}


@pytest.mark.parametrize(
    ("owner", "name", "query"),
    [
        ("", "a", ""), ("u" * 501, "a", ""), ("user:1", "", ""), ("user:1", "n" * 201, ""),
        ("user:1", "a", "q" * 10_001), ("user:1", "a\0", ""), ("user:1", "a", "\ud800"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused(reader: Connection, owner: str, name: str, query: str) -> None:
    """The error has the limits; the caller's transaction stays usable."""
    with reader.transaction():
        with pytest.raises(SearchNotSaved, match="a saved search "):
            saved_searches.save(reader, owner, name, query)
        saved_searches.save(reader, "user:1", "n" * 200, "q" * 10_000)
    assert list(texts(reader, "user:1")) == ["n" * 200]


def test_a_user_has_at_most_200_searches(reader: Connection) -> None:
    """One user cannot fill the table; an existing search can still be replaced."""
    with reader.transaction():
        for number in range(200):
            saved_searches.save(reader, "user:1", f"search {number}", "")
    with pytest.raises(SearchNotSaved, match="200 saved searches already: delete one"):
        saved_searches.save(reader, "user:1", "one more", "")
    saved_searches.save(reader, "user:1", "search 7", "tenant:north")
    assert texts(reader, "user:1")["search 7"] == "tenant:north"
    saved_searches.save(reader, "user:2", "one more", "")


def test_a_reader_writes_to_the_table_through_the_functions_alone(reader: Connection) -> None:
    """It has no right to the table but to read it."""
    for statement in ("INSERT INTO pgaudit.saved_search VALUES ('a', 'b', 'c')", "DELETE FROM pgaudit.saved_search"):
        with pytest.raises(InsufficientPrivilege):
            reader.execute(statement.encode())
