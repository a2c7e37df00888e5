"""The fixture audit_guard: a test fails that changes rows of a guarded table without an event."""

import psycopg
import pytest

from tests.testing.guarded_service import outcomes, service
from tests.testing.test_plugin import application, run

pytest_plugins = ["pytester"]
__all__ = ["application", "service"]

PSYCOPG = """
    import psycopg
    import pytest
    from service import approve, pay

    def test_recorded(conn, audit_guard):
        approve(conn, 1)

    def test_forgotten(conn, audit_guard):
        approve(conn, 1)
        pay(conn, 2)

    def test_not_asked_for(conn):
        pay(conn, 2)

    def test_rolled_back_by_the_application(conn, audit_guard):
        with pytest.raises(ZeroDivisionError), conn.transaction():
            pay(conn, 2)
            1 / 0

    def test_rolled_back_by_the_test(conn, audit_guard):
        with conn.transaction(force_rollback=True):
            pay(conn, 2)

    def test_bulk(conn, audit_guard):
        with conn.cursor() as cursor:
            with cursor.copy("COPY claims FROM STDIN") as copy:
                copy.write_row([10, "open"])
            cursor.executemany("UPDATE claims SET status = %s WHERE id = %s", [["paid", 2], ["paid", 3]])

    def test_refused_at_commit(conn, audit_guard):
        pay(conn, 2)
        with pytest.raises(psycopg.errors.DatabaseError) as refused:
            conn.commit()
        assert "SET status = 'paid'" in refused.value.__notes__[0]

    def test_already_failed(conn, audit_guard):
        pay(conn, 2)
        assert not "the test's own failure"

    def test_broken_transaction(conn, audit_guard):
        pay(conn, 2)
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT FROM nothing")

    def test_after_the_fixture(conn):
        assert psycopg.Cursor.execute.__module__ == "psycopg.cursor"
"""
WARNED = """
    def test_committed(conn, audit_guard):
        conn.execute("INSERT INTO payments VALUES (1)")
        conn.commit()
        conn.execute("SELECT 'innocent'")

    def test_block(conn, audit_guard):
        with conn.transaction():
            conn.execute("INSERT INTO payments VALUES (2)")

    def test_autocommit(conn, audit_guard):
        conn.autocommit = True
        conn.execute("INSERT INTO payments VALUES (3)")

    def test_truncated(conn, audit_guard):
        conn.execute("TRUNCATE payments")

    def test_recorded(conn, audit_guard):
        from service import AuditEvent, audit
        conn.execute("INSERT INTO payments VALUES (4)")
        audit.record(conn, AuditEvent(action="payment.sent", target="payment:4"))
        conn.commit()
"""


def test_a_forgotten_event_fails_the_test_before_the_rollback(service: pytest.Pytester) -> None:
    """The message names table, key, statement and line; what the application rolled back needs no event."""
    service.makepyfile(test_claims=PSYCOPG)
    result = run(service, "-v")
    assert outcomes(result) == {
        "recorded": "PASSED",
        "forgotten": "FAILED",
        "not_asked_for": "PASSED",
        "rolled_back_by_the_application": "PASSED",
        "rolled_back_by_the_test": "FAILED",
        "bulk": "FAILED",
        "refused_at_commit": "PASSED",
        "already_failed": "FAILED",
        "broken_transaction": "PASSED",
        "after_the_fixture": "PASSED",
    }
    result.stdout.fnmatch_lines(
        [
            "*_ test_forgotten _*",
            "public.claims: claim:2 updated without an audit event",
            "  UPDATE claims SET status = 'paid' WHERE id = %s",
            "    at service.py:6, called at test_claims.py:10",
            "*_ test_rolled_back_by_the_test _*",
            "    at service.py:6, called at test_claims.py:22",
            "*_ test_bulk _*",
            "public.claims: *",
            "  * claims *",
            "    at test_claims.py:2?",
            "*_ test_already_failed _*",
            "E*the test's own failure*",
        ]
    )
    assert result.stdout.str().count("SET status = 'approved'") == 0


def test_a_guard_that_warns_fails_the_test(service: pytest.Pytester) -> None:
    """Also when the change is committed, in autocommit, and for TRUNCATE, which a guard decides about at once."""
    service.makepyfile(test_payments=WARNED)
    result = run(service, "-v")
    assert outcomes(result) == {
        "committed": "FAILED",
        "block": "FAILED",
        "autocommit": "FAILED",
        "truncated": "FAILED",
        "recorded": "PASSED",
    }
    for line, statement, message in (
        (2, "INSERT INTO payments VALUES (1)", "public.payments: payment:1 inserted without an audit event"),
        (8, "INSERT INTO payments VALUES (2)", "public.payments: payment:2 inserted without an audit event"),
        (12, "INSERT INTO payments VALUES (3)", "public.payments: payment:3 inserted without an audit event"),
        (15, "TRUNCATE payments", "TRUNCATE of public.payments without an audit event"),
    ):
        assert f"{message}\n  {statement}\n    at test_payments.py:{line}\n" in result.stdout.str()
    assert "innocent" not in result.stdout.str()


def test_a_role_that_cannot_read_the_guards_is_an_error_with_the_grant(
    service: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    """The test fails instead of passing without a check."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE ROLE t_guarded LOGIN; GRANT ALL ON claims TO t_guarded")
    try:
        monkeypatch.setenv("TEST_DSN", f"{dsn} user=t_guarded")
        service.makepyfile(test_claims=PSYCOPG)
        result = run(service, "-k", "forgotten")
        result.assert_outcomes(failed=1)
        service.makepyfile(
            test_claims="def test_one(conn, audit_guard):\n    conn.execute('UPDATE claims SET id = id')"
        )
        result = run(service)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["audit_guard cannot see what is guarded: GRANT USAGE ON SCHEMA pgaudit TO t_guarded*"]
        )
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("DROP OWNED BY t_guarded; DROP ROLE t_guarded")
