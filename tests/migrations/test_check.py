"""`pgaudit migrate --check` and the other commands of the owner: exit codes and sentences."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner, Result

from pgaudit import grants, migrate
from pgaudit._schema.state import Scripts
from pgaudit.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, against a database."""

    def command(dsn: str, *arguments: str) -> Result:
        monkeypatch.setenv("PGAUDIT_DSN", dsn)
        return CliRunner().invoke(app, arguments)

    return command


def check(run: Run, dsn: str) -> tuple[int, str]:
    """Returns exit code and output of --check."""
    result = run(dsn, "migrate", "--check")
    return result.exit_code, result.output


def test_a_current_schema(run: Run, dsn: str) -> None:
    """0, with both versions in one line."""
    code, output = check(run, dsn)
    assert code == 0
    assert output.startswith("The database is at revision 0001 of pgaudit 0.1.0; this version needs revision 0001")
    assert output.endswith(": it is current.\n")


@pytest.mark.parametrize("kind", ["writer", "inline", "worker", "reader"])
def test_a_granted_role_may_check(run: Run, owner: str, kind: str) -> None:
    """An instance checks at its start, as the application's role."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, **{kind: "t_app"})
    assert check(run, make_conninfo(owner, user="t_app"))[0] == 0


def test_an_empty_database_is_behind(run: Run, empty_dsn: str) -> None:
    """1, and what to do."""
    code, output = check(run, empty_dsn)
    assert (code, "The database is at not migrated" in output) == (1, False), output
    assert output.startswith("The database is not migrated; this version needs revision 0001")
    assert output.endswith(": run `pgaudit migrate`.\n")


def test_changed_code_is_behind(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """1, though the revision is the newest."""
    conn.execute("UPDATE pgaudit.schema_code SET checksum = 'old', version = '0.0.9'")
    conn.commit()
    code, output = check(run, dsn)
    assert (code, "revision 0001 of pgaudit 0.0.9;" in output) == (1, True)


def test_a_database_that_does_not_answer(run: Run) -> None:
    """3: the schema may be current or not."""
    code, output = check(run, "host=127.0.0.1 port=1 connect_timeout=1")
    assert (code, output.startswith("The schema cannot be looked at: ")) == (3, True)


def test_a_role_without_rights_cannot_look(run: Run, owner: str) -> None:
    """3, too, with the role and what it needs."""
    migrate.upgrade(owner)
    code, output = check(run, make_conninfo(owner, user="t_stranger"))
    assert code == 3
    assert output == (
        "The schema cannot be looked at: permission denied for schema pgaudit: as the owner, run `pgaudit grant` "
        "for role t_stranger.\n"
    )


def test_a_newer_schema(run: Run, dsn: str, next_version: Scripts) -> None:
    """4: old code may run on it. `migrate` changes nothing, and says so."""
    migrate.upgrade(dsn, scripts=next_version)
    code, output = check(run, dsn)
    assert (code, "newer than this version" in output) == (4, True)
    migrated = run(dsn, "migrate")
    assert migrated.exit_code == 0
    assert "Nothing was changed: the schema pgaudit is at revision 0002 of pgaudit 999.0.0" in migrated.output


def test_a_schema_that_was_changed_by_hand(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """5, with a line for each difference."""
    conn.execute("ALTER FUNCTION pgaudit.record RESET ALL")
    conn.execute("CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING")
    conn.commit()
    code, output = check(run, dsn)
    assert (code, len(output.splitlines())) == (5, 3)
    assert "rule swallow on pgaudit.audit_jobs is not one of pgaudit's: DROP RULE" in output
    assert run(dsn, "migrate", "--repair").output.endswith(
        "The functions and views of the schema pgaudit were replaced.\n"
    )


def test_migrate_says_what_it_did(run: Run, empty_dsn: str) -> None:
    """From which state to which; the second time there is nothing to do."""
    assert "The schema pgaudit went from nothing to revision 0001 of pgaudit" in run(empty_dsn, "migrate").output
    assert "The schema pgaudit is current." in run(empty_dsn, "migrate").output


@pytest.mark.parametrize("options", [["--sql", "--check"], ["--check", "--repair"], ["--from", "0001"]])
def test_options_that_exclude_each_other(run: Run, dsn: str, options: list[str]) -> None:
    """None is ignored without a word."""
    result = run(dsn, "migrate", *options)
    assert (result.exit_code, "exclude each other" in result.output) == (2, True)


def test_several_roles_are_granted_at_once(run: Run, owner: str) -> None:
    """None of them is dropped."""
    migrate.upgrade(owner)
    granted = run(owner, "grant", "--writer", "t_app", "--writer", "t_stranger", "--inline", "t_worker")
    assert granted.output == "t_app is a writer.\nt_stranger is a writer.\nt_worker is an inline writer.\n"


def test_downgrade_and_uninstall(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Each says what it did."""
    assert run(dsn, "downgrade", "base").output == "The schema pgaudit was removed.\n"
    run(dsn, "migrate")
    assert run(dsn, "uninstall").exit_code == 1
    assert run(dsn, "uninstall", "--confirm", conn.info.dbname).output.startswith("Dropped the schema pgaudit of")
