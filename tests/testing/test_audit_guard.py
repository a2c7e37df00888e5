"""The fixture audit_guard: a test fails that changes rows of a guarded table without an event."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgaudit.testing.server import Server
from tests.testing.test_django import MODELS, SETTINGS
from tests.testing.test_plugin import application, run

pytest_plugins = ["pytester"]
__all__ = ["application"]

SERVICE = """
    from pgaudit import AuditEvent, AuditLog

    audit = AuditLog()

    def pay(conn, claim):
        conn.execute("UPDATE claims SET status = 'paid' WHERE id = %s", [claim])

    def approve(conn, claim):
        conn.execute("UPDATE claims SET status = 'approved' WHERE id = %s", [claim])
        audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}"))
"""
CONFTEST = """
    import os
    import psycopg
    import pytest

    @pytest.fixture
    def conn():
        conn = psycopg.connect(os.environ["TEST_DSN"])
        yield conn
        conn.rollback()
        conn.close()
"""
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
SQLALCHEMY = """
    import os
    import pytest
    from service import AuditEvent, audit
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    @pytest.fixture
    def session():
        engine = create_engine(os.environ["TEST_URL"])
        with engine.connect() as connection:
            outer = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                yield session
            outer.rollback()
        engine.dispose()

    def test_forgotten(session, audit_guard):
        session.execute(text("DELETE FROM claims WHERE id = :id"), {"id": 2})
        session.commit()

    def test_recorded(session, audit_guard):
        session.execute(text("DELETE FROM claims WHERE id = :id"), {"id": 2})
        audit.record(session, AuditEvent(action="claim.deleted", target="claim:2"))
        session.commit()
"""
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
DJANGO_CONFTEST = """
    from pgaudit.testing.django import audit_test_databases

    audit_test_databases()
"""
DJANGO = """
    import pytest
    from claims.models import Claim
    from django.db import connection, transaction
    from django.test import TestCase
    from pgaudit import AuditEvent, AuditLog

    audit = AuditLog()

    @pytest.fixture(autouse=True)
    def guarded(audit_guard, db):
        audit_guard("claims_claim", target="claim", key="id", conn=connection)

    def create(*, recorded):
        with transaction.atomic():
            claim = Claim.objects.create(status="open")
            if recorded:
                audit.record(connection, AuditEvent(action="claim.created", target=f"claim:{claim.pk}"))
        return claim

    def test_recorded():
        create(recorded=True)

    def test_forgotten():
        create(recorded=False)

    def test_queryset():
        claim = create(recorded=True)
        Claim.objects.filter(pk=claim.pk).update(status="paid")  # forgotten, but the claim has an event

    def test_rolled_back_by_the_application():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            create(recorded=False)
            1 / 0

    class Wrapped(TestCase):
        def test_wrapped_recorded(self):
            create(recorded=True)

        def test_wrapped_forgotten(self):
            create(recorded=False)
"""
TABLES = """
    CREATE TABLE claims (id int PRIMARY KEY, status text);
    CREATE TABLE payments (id int PRIMARY KEY);
    CREATE TABLE notes (id int PRIMARY KEY);
    INSERT INTO claims VALUES (1, 'open'), (2, 'open'), (3, 'open');
    SELECT pgaudit.add_guard('claims', 'claim', '{id}');
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
"""


@pytest.fixture
def service(application: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, dsn: str) -> pytest.Pytester:
    """An application whose table of claims is guarded, and a fixture of its own that rolls back."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
    parameters = conninfo_to_dict(dsn)
    monkeypatch.setenv("TEST_DSN", dsn)
    monkeypatch.setenv(
        "TEST_URL",
        f"postgresql+psycopg://{parameters['user']}@/{parameters['dbname']}?host={parameters['host']}&port={parameters['port']}",
    )
    application.makepyfile(service=SERVICE)
    application.makeconftest(CONFTEST)
    return application


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """Returns the outcome of each test by its name."""
    lines = [line.split() for line in result.outlines if "::test_" in line and "%]" in line]
    return {line[0].rpartition("::test_")[2]: line[1] for line in lines}


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


def test_a_session_of_sqlalchemy_that_is_rolled_back_is_examined(service: pytest.Pytester) -> None:
    """Its commits are savepoints in the transaction of the fixture."""
    service.makepyfile(test_orm=SQLALCHEMY)
    result = run(service, "-v")
    assert outcomes(result) == {"forgotten": "FAILED", "recorded": "PASSED"}
    result.stdout.fnmatch_lines(["public.claims: claim:2 deleted without an audit event", "    at test_orm.py:18"])


@pytest.fixture
def project(application: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[pytest.Pytester]:
    """A Django project of one model, whose test database is dropped at the end."""
    name = f"pgaudit_test_{uuid4().hex[:12]}"
    place = conninfo_to_dict(server.conninfo)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    settings = SETTINGS.format(name=name, host=place["host"], port=place["port"])
    application.makepyfile(settings=settings, test_claims=DJANGO)
    application.makeconftest(DJANGO_CONFTEST)
    application.mkpydir("claims").joinpath("models.py").write_text(MODELS)
    yield application
    with psycopg.connect(server.conninfo, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def test_tests_of_django_are_examined_before_their_rollback(project: pytest.Pytester) -> None:
    """Functions with pytest-django, and the methods of a TestCase, which rolls back inside the test."""
    result = run(project, "-v", "--create-db")
    found = outcomes(result)
    assert found == {
        "recorded": "PASSED",
        "forgotten": "FAILED",
        "queryset": "PASSED",
        "rolled_back_by_the_application": "PASSED",
        "wrapped_recorded": "PASSED",
        "wrapped_forgotten": "FAILED",
    }
    result.stdout.fnmatch_lines(
        [
            "public.claims_claim: claim:* inserted without an audit event",
            "  INSERT INTO *claims_claim*",
            "    at test_claims.py:15",
            "E * AssertionError: public.claims_claim: claim:* inserted without an audit event",
        ]
    )
    result.assert_outcomes(passed=4, failed=2)


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


def test_a_role_that_cannot_read_the_guards_is_told_what_to_grant(
    service: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    """Silence would look like success."""
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
