"""The examples in docstrings run, and print what they show."""

import doctest
import importlib
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blinker
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.routing import Mount

import pgaudit
from docs.code.sqlalchemy_orm import Claim
from pgaudit import AuditEvent, AuditLog, bind, claims, signals, trail
from pgaudit.guard import captures, guards
from pgaudit.sqlalchemy import classes as sqlalchemy_classes
from pgaudit.testing.database import AuditDatabase, url_of
from pgaudit.web import create_app

ROOT = Path(pgaudit.__file__).parent
# Their examples need an event that was recorded before.
AFTER_AN_EVENT = ("run_worker_once", "assert_recorded")


class IgnoreMissingOutput(doctest.OutputChecker):
    """Compares what an example prints, unless the example shows no output."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def examples() -> Generator[doctest.DocTest]:
    """Returns each docstring of the package that has an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for path in sorted(ROOT.rglob("*.py")):
        if path.parent.name != "django" and ">>>" in path.read_text(encoding="utf-8"):
            name = ".".join(["pgaudit", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
            yield from (test for test in finder.find(importlib.import_module(name), name) if test.examples)


@pytest.fixture
def names(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[dict[str, Any]]:
    """The names that the examples use: a database with a worker, and an application."""
    monkeypatch.setenv("PGAUDIT_DSN", dsn)
    monkeypatch.setenv("PGAUDIT_SPOOL_DIR", str(tmp_path))
    audit = AuditLog()
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    with psycopg.connect(dsn) as conn, Session(engine, expire_on_commit=False) as session:
        conn.execute("CREATE TABLE claims AS SELECT 7 AS id, 'open' AS status")
        conn.execute("SELECT pgaudit.register_worker()")
        conn.commit()
        claim = session.get(Claim, 7)
        session.commit()
        yield {
            "session": session,
            "AuditEvent": AuditEvent,
            "Claim": Claim,
            "claim": claim,
            "dsn": dsn,
            "conn": conn,
            "audit": audit,
            "settings": audit.settings,
            "psycopg": psycopg,
            "bind": bind,
            "trail": trail,
            "captures": captures,
            "guards": guards,
            "app": print,
            "flask_app": SimpleNamespace(wsgi_app=print),
            "approve": lambda claim: audit.record(None, AuditEvent(action="claim.approved", target=f"claim:{claim}")),
            "policy_renewed": blinker.Signal(),
            "FastAPI": FastAPI,
            "Starlette": Starlette,
            "Mount": Mount,
            "get_asgi_application": FastAPI,
            "create_app": create_app,
            "create_engine": create_engine,
            "audit_database": AuditDatabase(dsn, audit.settings),
            "User": SimpleNamespace,
        }
    engine.dispose()
    sqlalchemy_classes.tracked.clear()
    for signal in (claims.claim_submitted, claims.claim_approved, claims.claim_rejected, claims.claim_settled):
        signal.receivers.clear()


@pytest.mark.parametrize("test", list(examples()), ids=lambda test: test.name)
def test_an_example_runs(test: doctest.DocTest, names: dict[str, Any]) -> None:
    """The example in a docstring works as it stands."""
    if test.name.endswith(AFTER_AN_EVENT):
        approved = AuditEvent(action="claim.approved", actor="user:42", target="claim:7", data={"amount": "1000.00"})
        names["audit"].record(names["conn"], approved)
    test.globs.update(names)
    complaints: list[str] = []
    runner = doctest.DocTestRunner(checker=IgnoreMissingOutput(), verbose=False)
    outcome = runner.run(test, out=complaints.append, clear_globs=False)
    if "page" in test.globs:
        signals.job_failed.disconnect(test.globs["page"])
    assert outcome.failed == 0, "".join(complaints)
