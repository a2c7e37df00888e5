"""A database of a released version, with events in it, is upgraded to this version and to the next."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import __version__, grants, migrate
from pgaudit._schema import fingerprint
from pgaudit._schema.state import SCRIPTS, Scripts, state_of
from tests.migrations import regenerate
from tests.support.catalog import catalog
from tests.support.psql import Psql

RELEASED = sorted(regenerate.RELEASED.glob("[0-9]*.sql"))
STALE = "is not what this version installs: run make release-schema, unless it was released; then add a revision"
SIGNATURES = sorted(regenerate.RELEASED.glob("signatures_*.txt"))
# The rows that an upgrade must not change: of the log, the queue and the errors.
DATA = """
    SELECT (SELECT jsonb_agg(to_jsonb(l) ORDER BY index) FROM pgaudit.audit_log l),
           (SELECT jsonb_agg(to_jsonb(j) ORDER BY id) FROM pgaudit.audit_jobs j),
           (SELECT jsonb_agg(to_jsonb(e) ORDER BY id) FROM pgaudit.job_error e)
"""
COUNTS = "SELECT waiting, delayed, failed, completed FROM pgaudit.queue_stats"
RIGHTS = """
    SELECT object, grantee::regrole::text, privilege_type FROM (
        SELECT relname AS object, relowner AS owner, relacl AS acl FROM pg_class
         WHERE relnamespace = 'pgaudit'::regnamespace
        UNION ALL SELECT proname, proowner, proacl FROM pg_proc
         WHERE pronamespace = 'pgaudit'::regnamespace) o, aclexplode(acl)
     WHERE grantee <> owner ORDER BY 1, 2, 3
"""


@pytest.fixture(params=RELEASED, ids=lambda path: path.stem)
def released(request: pytest.FixtureRequest, owner: str, psql: Psql) -> str:
    """A used database of a released version, with a role of each kind."""
    ran = psql(owner, request.param.read_text())
    assert ran.returncode == 0, ran.stderr
    with psycopg.connect(owner) as conn:
        grants.grant(conn, writer="t_app", worker="t_worker", reader="t_reader")
    return owner


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_the_file_is_what_its_version_installs(path: Path) -> None:
    """The file changes with the version that is in development; that of a released version stays as it is."""
    if path.stem == __version__:
        assert path.read_text() == regenerate.release(), f"{path.name} {STALE}"


def test_there_is_a_file_for_this_version() -> None:
    """The next version is tested with the file of this one."""
    assert __version__ in {path.stem for path in RELEASED}, "run make release-schema"


def test_a_released_database_was_used(released: str) -> None:
    """The database has events in the log, a waiting one, a delayed one and a failed one."""
    with psycopg.connect(released) as conn:
        assert conn.execute(COUNTS).fetchone() == (1, 1, 1, 5)


@pytest.mark.parametrize("future", [False, True])
def test_a_released_database_is_upgraded(released: str, dsn: str, next_version: Scripts, *, future: bool) -> None:
    """The upgraded schema is a fresh one; events, jobs, errors and grants are kept."""
    scripts = next_version if future else SCRIPTS
    with psycopg.connect(released) as conn:
        data, rights = conn.execute(DATA).fetchone(), conn.execute(RIGHTS).fetchall()
    migrate.upgrade(released, scripts=scripts)
    migrate.upgrade(dsn, scripts=scripts)
    with psycopg.connect(released) as upgraded, psycopg.connect(dsn) as fresh:
        assert catalog(upgraded) | {"rights": []} == catalog(fresh) | {"rights": []}
        assert state_of(upgraded) == scripts.state
        assert upgraded.execute(DATA).fetchone() == data
        assert set(rights) <= set(upgraded.execute(RIGHTS).fetchall())
        if not future:
            assert fingerprint.differences(upgraded) == []


@pytest.mark.parametrize("path", SIGNATURES, ids=lambda path: path.stem)
def test_functions_that_released_code_calls_are_still_there(path: Path, conn: psycopg.Connection[Any]) -> None:
    """Old and new workers run side by side, so a function with other arguments needs another name."""
    now = set(regenerate.signatures(conn).splitlines())
    assert set(path.read_text().splitlines()) <= now, "give the changed function a new name, and keep the old one"


def test_the_signatures_are_of_this_version(conn: psycopg.Connection[Any]) -> None:
    """The file has all functions that Python calls."""
    path = regenerate.RELEASED / f"signatures_{__version__.replace('.', '_')}.txt"
    assert path.read_text() == regenerate.signatures(conn), "run make release-schema"
