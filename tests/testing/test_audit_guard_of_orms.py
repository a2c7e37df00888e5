"""audit_guard below SQLAlchemy and Django, whose tests roll back in ways of their own."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgaudit.testing.server import Server
from tests.testing.guarded_service import outcomes, service
from tests.testing.test_django import MODELS, SETTINGS
from tests.testing.test_plugin import application, run

pytest_plugins = ["pytester"]
__all__ = ["application", "service"]

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
