"""Locks that a migration waits for, and the error when it waits too long."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import migrate
from pgaudit._schema.state import Scripts
from pgaudit.migrate import session
from tests.support.waiting import wait_until

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'object'"
COMMENT = "COMMENT ON SCHEMA pgaudit IS 'held'"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes migrations give up after two seconds."""
    monkeypatch.setattr(session, "PATIENCE", "SET LOCAL lock_timeout = '2s'")
    monkeypatch.setattr(session, "TABLE_PATIENCE", "SET LOCAL lock_timeout = '2s'")


@pytest.fixture
def holder(owner: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of the owner in a migrated database."""
    migrate.upgrade(owner)
    with psycopg.connect(owner) as conn:
        yield conn


def test_another_migration_is_waited_for(owner: str, holder: psycopg.Connection[Any], next_version: Scripts) -> None:
    """A migration goes on as soon as another one has ended."""
    holder.execute(COMMENT)
    with ThreadPoolExecutor() as pool, psycopg.connect(owner, autocommit=True) as observer:
        waiting = pool.submit(migrate.upgrade, owner, scripts=next_version)
        wait_until("the second migration waits", lambda: observer.execute(WAITING).fetchone() == (1,))
        holder.commit()
        assert waiting.result(timeout=30).after == next_version.state


@pytest.mark.usefixtures("impatient")
def test_another_migration_that_takes_too_long_is_named(
    owner: str, holder: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """The error names the process and role of the other migration."""
    holder.execute(COMMENT)
    expected = f"the schema pgaudit is locked by process {holder.info.backend_pid} of role t_owner"
    with pytest.raises(psycopg.errors.LockNotAvailable, match=expected):
        migrate.upgrade(owner, scripts=next_version)


@pytest.mark.usefixtures("impatient")
def test_two_first_migrations_wait_for_each_other(owner: str, empty_dsn: str) -> None:
    """The schema that another session is creating is a lock, too."""
    with psycopg.connect(make_conninfo(empty_dsn, user="t_app")) as squatter:
        squatter.execute("CREATE SCHEMA pgaudit")
        with pytest.raises(psycopg.errors.LockNotAvailable, match=f"process {squatter.info.backend_pid} of role t_app"):
            migrate.upgrade(owner)
        squatter.rollback()
    migrate.upgrade(owner)


@pytest.mark.parametrize(
    "attempt",
    [
        COMMENT,
        "LOCK TABLE pgaudit.alembic_version",
        "SELECT pg_advisory_lock(hashtext('pgaudit.migrate'))",
        "ALTER SCHEMA pgaudit RENAME TO other",
        "DROP SCHEMA pgaudit",
        "SELECT FROM pgaudit.schema_code FOR UPDATE",
    ],
)
@pytest.mark.usefixtures("impatient", "holder")
def test_a_role_without_rights_cannot_block_a_migration(owner: str, next_version: Scripts, attempt: str) -> None:
    """A role without rights gets no lock that a migration waits for."""
    with psycopg.connect(make_conninfo(owner, user="t_stranger")) as stranger:
        stranger.execute("BEGIN")
        try:
            with stranger.transaction():
                stranger.execute(attempt)
        except psycopg.errors.InsufficientPrivilege:
            pass
        assert migrate.upgrade(owner, scripts=next_version).after == next_version.state


@pytest.mark.usefixtures("impatient")
def test_a_table_in_use_is_named_with_its_user(
    owner: str, holder: psycopg.Connection[Any], next_version: Scripts
) -> None:
    """A migration that waits for a table gives up early, because other sessions queue up behind it."""
    holder.execute("SELECT FROM pgaudit.batch")
    expected = f"pgaudit.batch is locked by process {holder.info.backend_pid} of role t_owner. Nothing was changed"
    with pytest.raises(psycopg.errors.LockNotAvailable, match=expected):
        migrate.upgrade(owner, scripts=next_version)
    assert migrate.current(owner) == "0001"


def test_the_limits_are_a_minute_and_ten_seconds() -> None:
    """A migration waits a minute for another one, and ten seconds for a table."""
    assert session.PATIENCE == "SET LOCAL lock_timeout = '60s'"
    assert session.TABLE_PATIENCE == "SET LOCAL lock_timeout = '10s'"
