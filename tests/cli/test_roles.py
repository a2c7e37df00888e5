"""``pgaudit grant``, ``revoke`` and ``roles``: who may do what."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import roles
from tests.support.command_line import Run
from tests.support.roles import temporary_roles


@pytest.fixture
def app(dsn: str) -> Iterator[str]:
    """A role without rights."""
    with temporary_roles(dsn, "t_cli_app", "t_cli_dba"):
        yield "t_cli_app"


def kinds(run: Run, role: str) -> list[str] | None:
    """What `pgaudit roles` says of a role; None when it is not listed."""
    rows = json.loads(run("roles", "--json").stdout)
    return next(([kind for kind in roles.KINDS if row[kind]] for row in rows if row["role"] == role), None)


def test_rights_are_granted_listed_and_revoked(run: Run, app: str) -> None:
    """Several roles are granted and revoked at once; nothing is left of them."""
    granted = run("grant", "--reader", app, "--reader", "t_cli_dba", "--operator", app)
    assert granted.stdout.splitlines() == [
        "t_cli_app is an operator.",
        "t_cli_app is a reader.",
        "t_cli_dba is a reader.",
    ]
    assert kinds(run, app) == ["operator", "reader"]
    revoked = run("revoke", "--reader", app, "--reader", "t_cli_dba")
    assert revoked.stdout.splitlines() == ["t_cli_app is still an operator.", "t_cli_dba is nothing."]
    assert kinds(run, "t_cli_dba") is None
    assert run("revoke", "--all", app).stdout == "t_cli_app is nothing.\n"
    assert kinds(run, app) is None


def test_a_revoked_right_is_gone_in_the_database(run: Run, app: str, dsn: str) -> None:
    """A former reader cannot read events; its other rights are as before."""
    run("grant", "--reader", app, "--operator", app)
    run("revoke", "--reader", app)
    with psycopg.connect(dsn, user=app, autocommit=True) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT FROM pgaudit.audit_log")
        conn.execute("SELECT FROM pgaudit.audit_jobs")


def test_a_worker_stays_a_writer_until_that_is_revoked(run: Run, app: str) -> None:
    """A worker records, too, so what is left is said."""
    run("grant", "--worker", app)
    assert run("revoke", "--worker", app).stdout == "t_cli_app is still a writer.\n"
    assert run("revoke", "--writer", app).stdout == "t_cli_app is nothing.\n"


def test_rights_through_membership_and_public_are_listed(run: Run, app: str, conn: psycopg.Connection) -> None:
    """What a role may do counts, not how it came to that."""
    run("grant", "--reader", "t_cli_dba")
    conn.execute("GRANT t_cli_dba TO t_cli_app")
    conn.commit()
    assert kinds(run, app) == ["reader"]
    assert kinds(run, "PUBLIC") is None
    conn.execute("GRANT USAGE ON SCHEMA pgaudit TO PUBLIC; GRANT EXECUTE ON FUNCTION pgaudit.record TO PUBLIC")
    conn.commit()
    assert kinds(run, "PUBLIC") == ["writer"]


def test_the_owner_and_unknown_roles_cannot_be_revoked(run: Run) -> None:
    """The owner would lose its own rights, and a slip is not taken for done."""
    owner = run("revoke", "--reader", "postgres")
    assert (owner.returncode, "owns the schema pgaudit" in owner.stderr) == (2, True)
    unknown = run("revoke", "--reader", "t_nobody")
    assert (unknown.returncode, unknown.stderr) == (1, 'pgaudit: role "t_nobody" does not exist\n')


@pytest.mark.parametrize(
    ("command", "option"),
    [(("tail",), "reader"), (("stats",), "reader"), (("health",), "reader"), (("jobs", "list"), "operator")],
)
def test_a_refused_role_reads_its_name_and_the_remedy(
    run: Run, app: str, dsn: str, command: tuple[str, ...], option: str
) -> None:
    """The remedy is one command, which works."""
    refused = run(*command, dsn=f"{dsn} user={app}")
    assert refused.returncode == 3
    assert f"run `pgaudit grant --{option} {app}`" in refused.stdout + refused.stderr
    run("grant", f"--{option}", app)
    assert run(*command, dsn=f"{dsn} user={app}").returncode in {0, 1}


def test_a_role_that_may_not_migrate_reads_what_it_needs(run: Run, app: str, empty_dsn: str) -> None:
    """The error for a role that must not create the schema has the two statements that would allow it."""
    result = run("migrate", dsn=f"{empty_dsn} user={app}")
    assert result.returncode == 3
    assert f"TO {app}, or CREATE SCHEMA pgaudit AUTHORIZATION {app}" in result.stderr
