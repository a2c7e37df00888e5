"""pgaudit migrate --check and the other commands of the owner: exit codes and output."""

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


def test_check_of_a_current_schema_exits_with_0(run: Run, dsn: str) -> None:
    """The output has both versions in one line."""
    code, output = check(run, dsn)
    assert code == 0
    assert output.startswith("The database is at revision 0001 of pgaudit 0.1.0; this version needs revision 0001")
    assert output.endswith(": it is current.\n")


@pytest.mark.parametrize("kind", ["writer", "inline", "worker", "reader"])
def test_a_granted_role_may_check(run: Run, owner: str, kind: str) -> None:
    """Each granted role can check, because instances do at their start."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, **{kind: "t_app"})
    assert check(run, make_conninfo(owner, user="t_app"))[0] == 0


def test_check_of_an_empty_database_exits_with_1(run: Run, empty_dsn: str) -> None:
    """The output says to run pgaudit migrate."""
    code, output = check(run, empty_dsn)
    assert code == 1, output
    assert "The database is at not migrated" not in output, output
    assert output.startswith("The database is not migrated; this version needs revision 0001")
    assert output.endswith(": run `pgaudit migrate`.\n")


def test_check_of_changed_code_exits_with_1(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """Another checksum of the code is behind, even under the newest revision."""
    conn.execute("UPDATE pgaudit.schema_code SET checksum = 'old', version = '0.0.9'")
    conn.commit()
    code, output = check(run, dsn)
    assert code == 1
    assert "revision 0001 of pgaudit 0.0.9;" in output


def test_check_of_an_unreachable_database_exits_with_3(run: Run) -> None:
    """The output says that the schema cannot be looked at."""
    code, output = check(run, "host=127.0.0.1 port=1 connect_timeout=1")
    assert code == 3
    assert output.startswith("The schema cannot be looked at: ")


def test_check_without_rights_exits_with_3(run: Run, owner: str) -> None:
    """The output names the role and the remedy."""
    migrate.upgrade(owner)
    code, output = check(run, make_conninfo(owner, user="t_stranger"))
    assert code == 3
    assert output == (
        "The schema cannot be looked at: permission denied for schema pgaudit: as the owner, run `pgaudit grant` "
        "for role t_stranger.\n"
    )


def test_check_of_a_newer_schema_exits_with_4(run: Run, dsn: str, next_version: Scripts) -> None:
    """Old code may run on a newer schema; migrate changes nothing, and says so."""
    migrate.upgrade(dsn, scripts=next_version)
    code, output = check(run, dsn)
    assert code == 4
    assert "newer than this version" in output
    migrated = run(dsn, "migrate")
    assert migrated.exit_code == 0
    assert "Nothing was changed: the schema pgaudit is at revision 0002 of pgaudit 999.0.0" in migrated.output


def test_check_of_a_schema_changed_by_hand_exits_with_5(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """The output has a line for each difference; --repair removes them."""
    conn.execute("ALTER FUNCTION pgaudit.record RESET ALL")
    conn.execute("CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING")
    conn.commit()
    code, output = check(run, dsn)
    assert code == 5
    assert len(output.splitlines()) == 3
    assert "rule swallow on pgaudit.audit_jobs is not one of pgaudit's: DROP RULE" in output
    assert run(dsn, "migrate", "--repair").output.endswith(
        "The functions and views of the schema pgaudit were replaced.\n"
    )


def test_migrate_prints_both_states(run: Run, empty_dsn: str) -> None:
    """The output has the states before and after; the second migrate has nothing to do."""
    assert "The schema pgaudit went from nothing to revision 0001 of pgaudit" in run(empty_dsn, "migrate").output
    assert "The schema pgaudit is current." in run(empty_dsn, "migrate").output


@pytest.mark.parametrize("options", [["--sql", "--check"], ["--check", "--repair"], ["--from", "0001"]])
def test_options_that_exclude_each_other_are_refused(run: Run, dsn: str, options: list[str]) -> None:
    """No option is ignored silently."""
    result = run(dsn, "migrate", *options)
    assert result.exit_code == 2
    assert "exclude each other" in result.output


def test_several_roles_are_granted_at_once(run: Run, owner: str) -> None:
    """One command grants several roles."""
    migrate.upgrade(owner)
    granted = run(owner, "grant", "--writer", "t_app", "--writer", "t_stranger", "--inline", "t_worker")
    assert granted.output == "t_app is a writer.\nt_stranger is a writer.\nt_worker is an inline writer.\n"


def test_downgrade_and_uninstall_print_what_they_did(run: Run, dsn: str, conn: psycopg.Connection[Any]) -> None:
    """uninstall needs the name of the database as confirmation."""
    assert run(dsn, "downgrade", "base").output == "The schema pgaudit was removed.\n"
    run(dsn, "migrate")
    assert run(dsn, "uninstall").exit_code == 1
    assert run(dsn, "uninstall", "--confirm", conn.info.dbname).output.startswith("Dropped the schema pgaudit of")
