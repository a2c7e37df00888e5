"""PGAUDIT["IDENTIFY"]: Django's statements that write are told who makes the change."""

from collections.abc import Generator
from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, ProgrammingError, transaction
from psycopg import ServerCursor, sql

from pgaudit import bind, identify
from pgaudit.recording.context import Request
from tests.django.conftest import Run
from tests.support import django_project, told
from tests.support.drivers import RollBack, django_connection

INSERT = "INSERT INTO visits (visitor) VALUES (%s)"

CAPTURED = """
    SELECT event->>'action', concat_ws(':', event#>>'{actor,type}', event#>>'{actor,id}'),
           event#>>'{context,source}', event#>>'{context,request_id}' IS NOT NULL
      FROM pgaudit.audit_log WHERE event #> '{context,source}' IS NOT NULL ORDER BY index
"""


def identified_writes() -> Any:
    """Returns the module, which needs Django's settings to be imported."""
    django_project.configure()
    return import_module("pgaudit.django.identified_writes")


@pytest.fixture
def conn(dsn: str) -> Generator[Any]:
    """Django's connection, identified, in autocommit, with the table."""
    told.create_table(dsn)
    conn = django_connection(dsn)
    conn.ensure_connection()
    with conn.execute_wrapper(identified_writes().IdentifiedWrites()):
        yield conn
    conn.settings_dict["OPTIONS"] = {}
    conn.close()


@pytest.fixture
def binding_on_server(conn: Any) -> None:
    """The connection sends parameters apart."""
    conn.close()
    conn.settings_dict["OPTIONS"] = {"server_side_binding": True}
    conn.ensure_connection()


def visit(conn: Any, visitor: object) -> int:
    """Inserts a row. Returns how many there are, as the cursor says."""
    with conn.cursor() as cursor:
        cursor.execute(INSERT, [visitor])
        return int(cursor.rowcount)


def query(conn: Any, statement: Any, parameters: Any = None) -> list[Any]:
    """Executes a statement. Returns its rows."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def sent(seen: list[str]) -> tuple[int, int]:
    """Returns how often the connection waited for the server, and how often it told who acts."""
    return told.round_trips(seen), sum("set_config" in line and "\tF\t" in line for line in seen)


def test_it_takes_no_message_of_its_own(dsn: str, conn: Any) -> None:
    """Neither in a transaction nor in autocommit, and each row is told of who is bound then."""
    counts: list[tuple[int, int]] = []
    for actor in ("user:1", None):
        with bind(actor=actor), told.messages(conn.connection.pgconn) as seen:
            with transaction.atomic():
                assert visit(conn, "a") == 1
                visit(conn, "b")
            visit(conn, "c")
        counts.append(sent(seen))
    assert counts == [(5, 3), (5, 0)]  # BEGIN, a, b, COMMIT, c
    assert told.visits(dsn) == [
        ("a", "user:1"), ("b", "user:1"), ("c", "user:1"), ("a", None), ("b", None), ("c", None)
    ]  # fmt: skip


def test_reading_tells_nothing(conn: Any) -> None:
    """Nor does what Django sends for itself."""
    with bind(actor="user:1"), told.messages(conn.connection.pgconn) as seen, transaction.atomic():
        query(conn, "SELECT * FROM visits FOR UPDATE")
        with transaction.atomic(), conn.chunked_cursor() as cursor:
            cursor.execute("SELECT 1")
            assert isinstance(cursor.cursor, ServerCursor)
            assert cursor.fetchall() == [(1,)]
    assert sent(seen)[1] == 0


def test_results_are_those_of_the_statement(conn: Any) -> None:
    """Rows, their number and their columns; percent signs with and without parameters; composed statements."""
    with bind(actor="user:%s O'Neil \\"):
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO visits (visitor) VALUES (%s || '%%'), ('%%') RETURNING visitor", ["a"])
            assert (cursor.rowcount, cursor.description[0].name) == (2, "visitor")
            assert cursor.fetchall() == [("a%",), ("%",)]
            assert not cursor.nextset()
            cursor.execute("UPDATE visits SET visitor = '%' WHERE visitor LIKE 'a%'")
            assert cursor.rowcount == 1
            cursor.execute("DELETE FROM visits WHERE visitor = '%%'", ())
            assert cursor.rowcount == 2
        composed = sql.SQL("INSERT INTO {} (visitor) VALUES ({}) RETURNING told").format(
            sql.Identifier("visits"), sql.Placeholder()
        )
        ((said,),) = query(conn, composed, ["composed"])
        assert told.actor_of(said) == "user:%s O'Neil \\"
        with conn.cursor() as cursor:
            cursor.execute("UPDATE visits SET visitor = ''; INSERT INTO visits (visitor) VALUES ('') RETURNING 7")
            assert cursor.nextset()
            assert cursor.fetchall() == [(7,)]


def test_an_error_of_the_statement_is_the_applications_own(dsn: str, conn: Any) -> None:
    """Django's class, and a transaction that goes on behind a savepoint."""
    with bind(actor="user:1"), transaction.atomic():
        with pytest.raises(IntegrityError, match="null value"), transaction.atomic():
            visit(conn, None)
        with pytest.raises(ProgrammingError) as caught, transaction.atomic():
            query(conn, "DELETE FROM nothing")
        visit(conn, "a")
    assert "user" not in str(caught.value)
    assert told.visits(dsn) == [("a", "user:1")]


def test_savepoints_and_the_end_of_a_block_are_followed(dsn: str, conn: Any) -> None:
    """Whoever is bound at a statement is told, and nobody where nobody is."""
    with transaction.atomic():
        with bind(actor="user:1"):
            visit(conn, "a")
        with bind(actor="user:2"), pytest.raises(RollBack), transaction.atomic():
            visit(conn, "lost")
            raise RollBack
        with pytest.raises(RollBack), transaction.atomic():
            visit(conn, "lost")
            raise RollBack
        visit(conn, "b")
    assert told.visits(dsn) == [("a", "user:1"), ("b", None)]


def test_what_identify_was_given_holds_until_the_end(dsn: str, conn: Any) -> None:
    """Of the transaction."""
    with bind(actor="user:1"):
        with transaction.atomic():
            identify(conn, actor="user:2")
            visit(conn, "a")
        visit(conn, "b")
    assert told.visits(dsn) == [("a", "user:2"), ("b", "user:1")]


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.usefixtures("binding_on_server")
def test_parameters_that_are_sent_apart_take_a_statement_of_its_own(dsn: str, conn: Any, *, autocommit: bool) -> None:
    """In autocommit it makes a transaction of both."""
    with bind(actor="user:1"):
        if autocommit:
            visit(conn, "a")
        else:
            with transaction.atomic():
                visit(conn, "a")
        with transaction.atomic():
            identify(conn, actor="user:2")
            visit(conn, "b")
    assert told.visits(dsn) == [("a", "user:1"), ("b", "user:2")]
    assert query(conn, "SELECT coalesce(current_setting('audit.context', true), '')") == [("",)]


def test_no_kind_of_statement_breaks(dsn: str, conn: Any) -> None:
    """executemany, COPY, procedures that commit, VACUUM, definitions, a time limit, a pipeline, bytes."""
    with bind(actor="user:1"):
        with conn.cursor() as cursor:
            cursor.executemany(INSERT, [["a"], ["b"]])
        with transaction.atomic(), conn.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 5000")
            cursor.executemany(INSERT, [["c"]])
            with cursor.copy("COPY visits (visitor) FROM STDIN") as copy:
                copy.write_row(["copied"])
        query(
            conn,
            "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN INSERT INTO visits (visitor) VALUES ('p'); COMMIT; END$$",
        )
        query(conn, "CALL p()")
        query(conn, "VACUUM visits")
        query(conn, "CREATE INDEX CONCURRENTLY ON visits (visitor)")
        with conn.connection.pipeline():
            visit(conn, "piped")
        query(conn, b"INSERT INTO visits (visitor) VALUES ('bytes')")
    assert told.visits(dsn) == [
        ("a", "user:1"), ("b", "user:1"), ("c", "user:1"), ("copied", "user:1"), ("p", None), ("piped", "user:1"),
        ("bytes", None),
    ]  # fmt: skip


def test_a_lookup_reads_and_writes_on_the_same_connection(dsn: str, conn: Any) -> None:
    """As one that loads the user of the request, and notes when; what fails names nobody."""

    def lookup() -> str:
        visit(conn, "lookup")
        return f"user:{query(conn, 'SELECT 5')[0][0]}"

    def fails() -> str:
        raise RuntimeError

    with Request({}, lookup).serving():
        visit(conn, "a")
    with Request({}, fails).serving():
        visit(conn, "b")
    assert told.visits(dsn) == [("lookup", None), ("a", "user:5"), ("b", None)]


def test_a_connection_is_identified_once_and_first(conn: Any) -> None:
    """Another wrapper that ends does not take it away."""
    with conn.execute_wrapper(lambda execute, *details: execute(*details)):
        conn.execute_wrappers.pop(0)
        identified_writes().identify_writes(conn)
        identified_writes().identify_writes(conn)
    assert [type(wrapper).__name__ for wrapper in conn.execute_wrappers] == ["IdentifiedWrites"]


def test_captured_changes_of_a_project_name_who_has_made_them(run: Run, empty_dsn: str) -> None:
    """The option is all that a project needs: for a request by API key, and a command; raw SQL names its role."""
    identified = {"PROJECT_PGAUDIT": '{"IDENTIFY": true}'}
    run("django", "migrate")
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("SELECT pgaudit.add_capture('monitors_check', 'check', '{id}')")
    run("django", "live", **identified)
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("UPDATE monitors_check SET paused = true")
    run("django", "prune", **identified)
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("SELECT pgaudit.persist(NULL, NULL, 100)")
        captured = conn.execute(CAPTURED).fetchall()
    assert captured[1:] == [  # the first says that capture was added
        ("check.created", "project:1", "application", True),
        ("check.updated", "db_user:postgres", "database", False),
        ("check.deleted", "service:prune", "application", False),
    ]
