"""audit_guard as a function: a guard that is there for one test."""

import pytest

from tests.testing.guarded_service import outcomes, service
from tests.testing.test_plugin import application, run

pytest_plugins = ["pytester"]
__all__ = ["application", "service"]

ADDED = """
    import os
    import psycopg
    import pytest
    from pgaudit.testing.guarding import NoConnection

    def test_for_the_test_only(conn, audit_guard):
        conn.execute("SELECT")
        audit_guard("notes", target="note", key="id")
        conn.execute("INSERT INTO notes VALUES (1)")

    def test_not_for_another(conn, audit_guard):
        conn.execute("INSERT INTO notes VALUES (1)")

    def test_committed(conn, audit_guard):
        audit_guard("notes", target="note", key=["id"], conn=conn)
        conn.commit()
        assert is_guarded(conn)
        conn.commit()

    def test_removed_after_a_commit(conn):
        assert not is_guarded(conn)

    def test_without_a_connection(audit_guard):
        with pytest.raises(NoConnection, match="conn=connection"):
            audit_guard("notes", target="note", key="id")

    @pytest.fixture(autouse=True)
    def guarded(audit_guard):
        pass

    @pytest.fixture
    def conn_of_its_own():
        with psycopg.connect(os.environ["TEST_DSN"]) as conn:
            yield conn

    def test_connection_is_closed_before_the_guard_goes(conn_of_its_own, audit_guard):
        conn_of_its_own.execute("SELECT")
        audit_guard("notes", target="note", key="id")
        conn_of_its_own.commit()

    def test_database_is_dropped_before_the_guard_goes(audit_database, audit_guard):
        with psycopg.connect(audit_database.dsn) as conn:
            conn.execute("CREATE TABLE notes (id int PRIMARY KEY)")
            audit_guard("notes", target="note", key="id")

    def is_guarded(conn):
        query = "SELECT count(*) FROM pgaudit.guarded_table WHERE relation = 'notes'::regclass"
        return conn.execute(query).fetchone()[0] == 1
"""


def test_a_guard_can_be_added_for_one_test(service: pytest.Pytester) -> None:
    """It is gone after the test, rolled back or committed, and whichever fixture ends first."""
    service.makepyfile(test_notes=ADDED)
    result = run(service, "-v")
    assert outcomes(result) == {
        "for_the_test_only": "FAILED",
        "not_for_another": "PASSED",
        "committed": "PASSED",
        "removed_after_a_commit": "PASSED",
        "without_a_connection": "PASSED",
        "connection_is_closed_before_the_guard_goes": "PASSED",
        "database_is_dropped_before_the_guard_goes": "PASSED",
    }
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(["public.notes: note:1 inserted without an audit event"])
