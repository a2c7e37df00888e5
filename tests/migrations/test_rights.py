"""Rights across migrations: new objects grant none, old ones keep theirs, roles get what the new version needs."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import grants, migrate
from pgaudit._schema.state import Scripts
from tests.support.psql import Psql

RIGHTS = """
    SELECT object, grantee::regrole::text, privilege_type FROM (
        SELECT relname AS object, relowner AS owner, relacl AS acl FROM pg_class
         WHERE relnamespace = 'pgaudit'::regnamespace
        UNION ALL SELECT proname, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
         WHERE pronamespace = 'pgaudit'::regnamespace
        UNION ALL SELECT nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = 'pgaudit') o, aclexplode(acl)
     WHERE grantee <> owner ORDER BY 1, 2, 3
"""
DEFAULTS = """
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC, t_stranger;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, t_stranger;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC, t_stranger;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC, t_stranger;
"""
OWNERS = """
    SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'pgaudit'
    UNION SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'pgaudit'::regnamespace
    UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'pgaudit'::regnamespace
    UNION SELECT typowner::regrole::text FROM pg_type WHERE typnamespace = 'pgaudit'::regnamespace
"""
CHANGE_OWNER = Path(__file__).parents[2] / "docs/files/change-owner.sql"
STATE = "SELECT pgaudit.schema_state()"


def rights(dsn: str, object_name: str | None = None) -> list[Any]:
    """Returns the rights of other roles than the owner: object, role, right."""
    with psycopg.connect(dsn) as conn:
        found = conn.execute(RIGHTS).fetchall()
    return [row for row in found if object_name in {None, row[0]}]


def test_a_new_schema_grants_nothing(owner: str) -> None:
    """Default privileges of the owner give at most USAGE of the schema."""
    with psycopg.connect(owner) as conn:
        conn.execute(DEFAULTS)
    migrate.upgrade(owner)
    assert rights(owner) == [("pgaudit", "t_stranger", "USAGE")]


def test_new_functions_grant_nothing_and_old_ones_keep_their_grants(owner: str, next_version: Scripts) -> None:
    """Grants by hand on existing objects stay as they are."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        conn.execute(DEFAULTS)
        conn.execute("GRANT USAGE ON SCHEMA pgaudit TO t_stranger")
        conn.execute("GRANT SELECT ON pgaudit.audit_log, pgaudit.queue_stats TO t_stranger")
        conn.execute("REVOKE ALL ON FUNCTION pgaudit.record FROM PUBLIC")
    before = rights(owner, "queue_stats")
    migrate.upgrade(owner, scripts=next_version)
    assert rights(owner, "queue_stats") == before
    assert rights(owner, "of_the_next_version") == []


def test_roles_get_what_the_new_version_needs(
    owner: str, next_version: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles that can execute persist or read the log get the rights that the new version adds for them."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer="t_app", worker="t_worker", reader="t_reader", inline="t_stranger")
    new = "GRANT EXECUTE ON FUNCTION pgaudit.of_the_next_version TO {role}"
    holders = [(name, (*statements, new)) for name, statements in grants.SETS if name in {"persist", "failed_jobs"}]
    monkeypatch.setattr(grants, "SETS", holders)
    migrate.upgrade(owner, scripts=next_version)
    assert [role for _, role, _ in rights(owner, "of_the_next_version")] == ["t_reader", "t_worker"]


def test_a_right_that_was_lost_is_renewed(owner: str, next_version: Scripts) -> None:
    """A migration renews grants on functions that were dropped and created again."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, worker="t_worker")
        before = conn.execute(RIGHTS).fetchall()
        conn.execute("REVOKE ALL ON FUNCTION pgaudit.heartbeat FROM t_worker")
    migrate.upgrade(owner, scripts=next_version)
    assert rights(owner) == before


@pytest.mark.parametrize("kind", ["writer", "inline", "worker", "operator", "reader"])
def test_every_granted_role_may_ask_for_the_state(owner: str, kind: str) -> None:
    """migrate --check runs at the start of each instance, as the application's role."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, **{kind: "t_app"})
    with psycopg.connect(make_conninfo(owner, user="t_app")) as conn:
        assert conn.execute(STATE).fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT FROM pgaudit.schema_code")


def test_grant_takes_several_roles(owner: str) -> None:
    """grant takes one name or several."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer=["t_app", "t_stranger"])
    assert {role for _, role, _ in rights(owner, "record")} == {"t_app", "t_stranger"}


def test_a_writer_that_is_the_owner_is_named(
    owner: str, empty: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A writer that is the owner, or a member of it, is logged, because it can drop the triggers of the log."""
    migrate.upgrade(owner)
    empty.execute("GRANT t_owner TO t_app")
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer=["t_owner", "t_app", "t_stranger"], reader="t_app")
    named = [record.getMessage().split()[0] for record in caplog.records]
    assert named == ["t_owner", "t_app"]


def test_the_script_in_the_docs_changes_the_owner(
    owner: str, empty_dsn: str, empty: psycopg.Connection[Any], psql: Psql
) -> None:
    """Nothing is left to the old owner, the new one can migrate, and the rights of other roles stay."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        grants.grant(conn, worker="t_worker", reader="t_reader")
    before = rights(owner)
    ran = psql(empty_dsn, "\\set owner t_app\n" + CHANGE_OWNER.read_text())
    assert ran.returncode == 0, ran.stderr
    assert empty.execute(OWNERS).fetchall() == [("t_app",)]
    new_owner = make_conninfo(owner, user="t_app")
    migrate.upgrade(new_owner, repair=True)
    assert rights(new_owner) == before
