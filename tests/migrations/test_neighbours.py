"""The host's own Alembic and Procrastinate in the same database."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from procrastinate.schema import SchemaManager
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from pgaudit import AuditLog, Settings, migrate
from pgaudit._schema import state
from tests.support.catalog import catalog
from tests.support.events import event

ENVIRONMENT = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op
revision, down_revision = "host1", None
def upgrade():
    op.execute("CREATE TABLE claims (id integer)")
def downgrade():
    op.execute("DROP TABLE claims")
"""


@pytest.fixture
def host(empty_dsn: str, tmp_path: Path) -> Any:
    """Runs a command of Alembic on an application's own migrations."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "versions" / "host1.py").write_text(REVISION)

    def run(action: Any, *arguments: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(tmp_path))
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_dsn), poolclass=NullPool)
        with engine.connect() as conn:
            config.attributes["connection"] = conn
            action(config, *arguments)
            conn.commit()

    return run


def version_of_host(conn: psycopg.Connection) -> list[Any]:
    """Returns the revision of the host's migrations."""
    return conn.execute("SELECT version_num FROM public.alembic_version").fetchall()


def test_the_hosts_migrations_and_ours_are_independent(empty_dsn: str, host: Any) -> None:
    """Each has its own version table; up and down of one does not change the other."""
    host(command.upgrade, "head")
    migrate.upgrade(empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        ours = catalog(conn)
        assert version_of_host(conn) == [("host1",)]
        host(command.downgrade, "base")
        host(command.upgrade, "head")
        assert catalog(conn) == ours
        assert migrate.current(empty_dsn) == state.NEWEST
        theirs = catalog(conn, "public")
        migrate.downgrade(empty_dsn)
        migrate.upgrade(empty_dsn)
        assert version_of_host(conn) == [("host1",)]
        assert catalog(conn, "public") == theirs


def test_the_hosts_own_procrastinate_is_not_touched(empty_dsn: str) -> None:
    """Tables and jobs of Procrastinate in public stay as they are."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(SchemaManager.get_schema().encode())
        conn.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('audit', 'pgaudit.persist')")
        theirs = catalog(conn, "public")
        jobs = "SELECT * FROM public.procrastinate_jobs ORDER BY id"
        before = conn.execute(jobs).fetchall()
        migrate.upgrade(empty_dsn)
        with conn.transaction():
            AuditLog(Settings(dsn=empty_dsn)).record(conn, event())
        conn.execute("SELECT pgaudit.persist(NULL, NULL, 100)")
        assert conn.execute("SELECT count(*) FROM pgaudit.audit_log").fetchone() == (1,)
        assert conn.execute(jobs).fetchall() == before
        assert catalog(conn, "public") == theirs


def test_downgrading_leaves_the_hosts_procrastinate(empty_dsn: str) -> None:
    """A downgrade to base removes our schema only."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(SchemaManager.get_schema().encode())
        theirs = catalog(conn, "public")
        migrate.upgrade(empty_dsn)
        migrate.downgrade(empty_dsn)
        assert catalog(conn, "public") == theirs


def test_migrating_inside_a_revision_of_the_host(empty_dsn: str, host: Any, tmp_path: Path) -> None:
    """The host's revision goes on after it has migrated pgaudit."""
    revision = tmp_path / "versions" / "host1.py"
    revision.write_text(
        REVISION.replace(
            "def upgrade():\n", f"from pgaudit import migrate\ndef upgrade():\n    migrate.upgrade({empty_dsn!r})\n"
        )
    )
    host(command.upgrade, "head")
    with psycopg.connect(empty_dsn) as conn:
        assert version_of_host(conn) == [("host1",)]
        assert conn.execute("SELECT to_regclass('claims') IS NOT NULL").fetchone() == (True,)
    assert migrate.current(empty_dsn) == state.NEWEST
