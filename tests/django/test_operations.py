"""Capture and guard in the migrations of a Django project."""

import subprocess

import psycopg
import pytest

from pgaudit.guard import captures, guards
from tests.django.conftest import PROJECT, Run
from tests.support.psql import PROGRAM

APPS = {"PROJECT_APPS": f"{PROJECT}.claims"}


def added(dsn: str) -> tuple[list[str], list[str]]:
    """Returns the tables that are captured and guarded."""
    with psycopg.connect(dsn) as conn:
        return [each.table for each in captures.list_captures(conn)], [each.table for each in guards.list_guards(conn)]


def test_migrations_add_and_remove_them(run: Run, empty_dsn: str) -> None:
    """Forwards and backwards; names of fields become those of columns."""
    run("django", "migrate", "claims", "0002", **APPS)
    with psycopg.connect(empty_dsn) as conn:
        (capture,), (guard,) = captures.list_captures(conn), guards.list_guards(conn)
    assert (capture.table, capture.key, capture.mask, capture.target) == (
        "public.Claims",
        ["claim_id"],
        ["Holder"],
        "claim",
    )
    assert capture.when == """new.status IS DISTINCT FROM old.status OR new."Holder" LIKE 'test:%'"""
    assert (guard.on_missing, guard.actions) == ("warn", {"delete": "claim.deleted"})
    run("django", "migrate", "claims", "0003", **APPS)
    assert added(empty_dsn) == (["public.Claims"], [])
    run("django", "migrate", "claims", "0002", **APPS)
    assert added(empty_dsn) == (["public.Claims"], ["public.Claims"])
    run("django", "migrate", "claims", "0001", **APPS)
    assert added(empty_dsn) == ([], [])


def test_sqlmigrate_prints_what_psql_can_run(run: Run, empty_dsn: str) -> None:
    """Both ways; percent signs stay as they are."""
    run("django", "migrate", "claims", "0001", **APPS)
    for direction, expected in (([], ["public.Claims"]), (["--backwards"], [])):
        script = run("django", "sqlmigrate", "claims", "0002", *direction, **APPS).stdout
        assert "-- Capture changes of Claim" in script
        command = [PROGRAM, empty_dsn, "-v", "ON_ERROR_STOP=1", "-qX"]
        subprocess.run(command, input=script, text=True, check=True, timeout=60, capture_output=True)
        assert added(empty_dsn) == (expected, expected)


def test_models_do_not_change(run: Run) -> None:
    """``makemigrations`` finds nothing to do after these operations."""
    assert "No changes detected" in run("django", "makemigrations", "claims", "--check", "--dry-run", **APPS).stdout


@pytest.mark.parametrize(
    ("operation", "told", "fragment"),
    [
        ("AddCapture('Claim', target='claim', mask=['holder'])", "Capture changes of Claim", "capture_claim"),
        ("RemoveCapture('Claim', target='claim')", "End the capture of Claim", "end_capture_of_claim"),
        ("AddGuard('Claim', 'claim', actions={'delete': 'x'})", "Guard changes of Claim", "guard_claim"),
        ("RemoveGuard('Claim', 'claim', on_missing='warn')", "End the guard of Claim", "end_guard_of_claim"),
    ],
)
def test_operations_are_written_and_described(run: Run, operation: str, told: str, fragment: str) -> None:
    """As ``squashmigrations`` writes them; what it writes makes the same operation."""
    program = f"""
from django.db.migrations.writer import OperationWriter
from pgaudit.django import operations
from pgaudit.django.operations import *
given = {operation}
text, imports = OperationWriter(given, indentation=0).serialize()
assert imports == {{"import pgaudit.django.operations"}}, imports
import pgaudit.django.operations
again = eval(text.rstrip().rstrip(","))
assert type(again) is type(given) and again.options == given.options and again.model_name == "Claim"
assert given.reversible and given.reduces_to_sql and given.references_model("claim", "claims")
print(given.describe(), given.migration_name_fragment)
"""
    assert run("django", "shell", "-c", program, **APPS).stdout.splitlines()[-1] == f"{told} {fragment}"


def test_a_system_check_names_the_option_that_tells_who(run: Run) -> None:
    """Once a table is captured; ``migrate`` and the test runner run the checks of databases."""
    look = ("django", "check", "--database", "default")
    run("django", "migrate", "claims", "0001", **APPS)
    assert "pgaudit.W002" not in run(*look, **APPS).stderr
    run("django", "migrate", "claims", "0002", **APPS)
    assert "pgaudit.W002" in run("django", "migrate", **APPS).stderr
    assert "HINT: Set PGAUDIT['IDENTIFY'] to True" in run(*look, **APPS).stderr
    assert "pgaudit.W002" not in run(*look, PROJECT_PGAUDIT='{"IDENTIFY": true}', **APPS).stderr


def test_other_databases_are_left_alone(run: Run, tmp_path: object) -> None:
    """On SQLite the operations do nothing, so that a project's tests may run on it."""
    sqlite = {"PROJECT_ENGINE": "django.db.backends.sqlite3", "PROJECT_DSN": f"dbname={tmp_path}/db"}
    run("django", "migrate", "claims", PGAUDIT_MODE="off", **sqlite, **APPS)
    run("django", "check", "--database", "default", PGAUDIT_MODE="off", **sqlite, **APPS)


def test_a_field_that_does_not_exist_is_named(run: Run) -> None:
    """Before anything reaches the database."""
    program = """
from django.db import connection
from django.db.migrations.state import ProjectState
from django.apps import apps
from pgaudit.django.operations import AddCapture
with connection.schema_editor() as editor:
    state = ProjectState.from_apps(apps)
    AddCapture("Claim", "claim", exclude="holdr").database_forwards("claims", editor, None, state)
"""
    refused = run("django", "shell", "-c", program, code=1, **APPS)
    assert "FieldDoesNotExist: Claim has no field named 'holdr'" in refused.stderr
