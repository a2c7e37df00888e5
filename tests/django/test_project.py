"""Runs a Django project with ``pgaudit.django``: its tests, its commands, and its requests as in production."""

import json

import psycopg
import pytest

from tests.django.conftest import PROJECT, Run


@pytest.mark.parametrize("mode", ["queue", "off", "inline"])
def test_the_suite_of_a_project_is_green_in_every_mode(run: Run, mode: str) -> None:
    """The tests of a project pass in each mode, without PGAUDIT_DSN and without a change for pgaudit."""
    identified = '{"IDENTIFY": true}'
    assert "Ran 12 tests" in run("django", "test", PROJECT, PGAUDIT_MODE=mode, PROJECT_PGAUDIT=identified).stderr


def test_the_copies_of_parallel_tests_have_the_schema(run: Run) -> None:
    """Parallel tests pass: the databases that Django copies for them have the schema."""
    assert "Ran 12 tests" in run("django", "test", PROJECT, "--parallel", "2").stderr


@pytest.mark.parametrize("mode", ["queue", "inline"])
def test_events_are_in_the_test_database_alone(run: Run, mode: str, empty_dsn: str) -> None:
    """All events, autonomous ones included, are recorded in the test database; the project's own has no schema."""
    assert "Ran 6 tests" in run("django", "test", f"{PROJECT}.monitors.stored", PGAUDIT_MODE=mode).stderr
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('pgaudit')").fetchone() == (None,)


def test_receivers_that_would_fail_in_production_fail_in_test_cases(run: Run) -> None:
    """Without ATOMIC_SAVES a receiver of post_save is outside a transaction, and a TestCase fails in every mode."""
    for mode in ("queue", "off"):
        done = run(
            "django",
            "test",
            f"{PROJECT}.monitors.tests.Api",
            code=1,
            PROJECT_PGAUDIT='{"ATOMIC_SAVES": false}',
            PGAUDIT_MODE=mode,
        )
        assert "pgaudit.django does with PGAUDIT" in done.stderr


@pytest.mark.parametrize("atomic", ["no", "yes"])
def test_rows_and_events_belong_together_in_production(run: Run, atomic: str) -> None:
    """Rows and events are committed together with and without ATOMIC_REQUESTS; autonomous events outlive a rollback."""
    run("django", "migrate")
    found = json.loads(run("django", "live", PROJECT_ATOMIC_REQUESTS=atomic).stdout)
    assert found == {
        "refused": 500,
        "checks": 1,
        "events": [
            "project.imported service:migration success",
            "user.login_failed None denied",
            "user.logged_in user:1 success",
            "device.noticed user:1 success",
            "check.created project:1 success",
            "check.refused project:1 denied",
        ],
    }


def test_manage_py_runs_the_command_line(run: Run) -> None:
    """``manage.py pgaudit`` works on the project's database, and passes options and exit codes on."""
    assert run("django", "pgaudit", "migrate", "--check", code=1).stdout.startswith("The database is not migrated")
    run("django", "migrate")
    assert "it is current" in run("django", "pgaudit", "migrate", "--check", "--settings", f"{PROJECT}.settings").stdout
    assert json.loads(run("django", "pgaudit", "stats", "--json").stdout)
    assert "--target" in run("django", "pgaudit", "tail", "--help").stdout


def test_the_schema_may_be_left_to_its_owner(run: Run) -> None:
    """With MIGRATE set to False, Django's ``migrate`` creates no schema."""
    run("django", "migrate", "auth", PROJECT_PGAUDIT='{"MIGRATE": false}')
    assert run("django", "pgaudit", "migrate", "--check", code=1).stdout.startswith("The database is not migrated")


@pytest.mark.parametrize(
    ("options", "message"),
    [('{"DSN": "x"}', r"DATABASES[PGAUDIT['ALIAS']]"), ('{"LOGIN": true}', "PGAUDIT: unknown LOGIN; known: ")],
)
def test_a_mistake_in_the_settings_is_named(run: Run, options: str, message: str) -> None:
    """Django does not start with a DSN or an unknown key in PGAUDIT; the error names what is allowed."""
    assert message in run("django", "check", code=1, PROJECT_PGAUDIT=options).stderr


def test_a_database_that_cannot_have_an_audit_log_is_named(run: Run) -> None:
    """Django's system check reports a database that is not PostgreSQL, unless the mode is off."""
    sqlite = {"PROJECT_ENGINE": "django.db.backends.sqlite3", "PROJECT_DSN": "dbname=:memory:"}
    assert "pgaudit.E001" in run("django", "check", "--database", "default", code=1, **sqlite).stderr
    run("django", "check", "--database", "default", PGAUDIT_MODE="off", **sqlite)
