"""Capture and guard in the migrations of an application with Alembic."""

import shutil
import subprocess
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import render_python_code
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from sqlalchemy.engine import URL

from pgaudit.guard import Capture, Guard, captures, guards
from pgaudit.guard.alembic import AddCapture, AddGuard, RemoveCapture, RemoveGuard
from tests.support.psql import PROGRAM

ROOT = Path(__file__).parents[2]
ENVIRONMENT = """
from alembic import context
from sqlalchemy import NullPool, create_engine

import pgaudit.guard.alembic

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "1", None
WHEN = "new.note LIKE ':b%' OR new.note::text IS DISTINCT FROM old.note"

def upgrade():
    op.create_table("claims", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("note", sa.Text))
    op.add_capture("claims", target="claim", key="id", mask=("note",), when=WHEN)
    op.add_guard("claims", target="claim", key=["id"], on_missing="warn", actions={"delete": "claim.deleted"})

def downgrade():
    op.remove_guard("claims")
    op.remove_capture("claims")
    op.drop_table("claims")
"""
WHEN = "new.note LIKE ':b%' OR new.note::text IS DISTINCT FROM old.note"


@pytest.fixture
def project(dsn: str, tmp_path: Path) -> Config:
    """An application's migrations, which capture and guard a table."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "versions" / "1.py").write_text(REVISION)
    (tmp_path / "script.py.mako").write_text("")
    return config(dsn, tmp_path)


def config(dsn: str, directory: Path) -> Config:
    """Returns the configuration of Alembic; its output is in attributes["output"]."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    url = URL.create(
        "postgresql+psycopg", username=str(given["user"]), database=str(given["dbname"]),
        query={"host": str(given["host"]), "port": str(given["port"])},
    )  # fmt: skip
    output = StringIO()
    made = Config(output_buffer=output, attributes={"output": output})
    made.set_main_option("script_location", str(directory))
    made.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return made


def added(conn: psycopg.Connection) -> tuple[list[Capture], list[Guard]]:
    """Returns what is captured and guarded."""
    conn.rollback()
    return captures.list_captures(conn), guards.list_guards(conn)


def assert_added(conn: psycopg.Connection) -> None:
    """Asserts that the table is captured and guarded as the migration says."""
    (capture,), (guard,) = added(conn)
    assert (capture.table, capture.target, capture.key, capture.mask) == ("public.claims", "claim", ["id"], ["note"])
    assert capture.when == WHEN
    assert (guard.on_missing, guard.actions, guard.state) == ("warn", {"delete": "claim.deleted"}, "guarded")


def test_a_migration_adds_and_removes_capture_and_guard(project: Config, conn: psycopg.Connection) -> None:
    """With the table, in one transaction, and back again."""
    command.upgrade(project, "head")
    assert_added(conn)
    conn.rollback()
    command.downgrade(project, "base")
    assert added(conn) == ([], [])


def test_the_script_of_the_offline_mode_does_the_same(project: Config, dsn: str, conn: psycopg.Connection) -> None:
    """What ``alembic upgrade --sql`` prints is run by psql: colons and percent signs stay as they are."""
    command.upgrade(project, "head", sql=True)
    script = project.attributes["output"].getvalue()
    assert "SELECT pgaudit.add_capture('claims', target => 'claim', key => '{id}'" in script
    subprocess.run([PROGRAM, dsn, "-v", "ON_ERROR_STOP=1", "-qX"], input=script, text=True, check=True, timeout=60)
    assert_added(conn)


def test_a_refused_capture_ends_the_migration(project: Config, conn: psycopg.Connection, tmp_path: Path) -> None:
    """The migration fails as a whole, and leaves nothing behind."""
    (tmp_path / "versions" / "1.py").write_text(REVISION.replace('key="id"', 'key="no"'))
    with pytest.raises(Exception, match="it has no column no"):
        command.upgrade(project, "head")
    assert conn.execute("SELECT to_regclass('claims')").fetchone() == (None,)


def test_operations_have_their_reverse_and_their_text() -> None:
    """For programs that write migrations."""
    capture = AddCapture("claims", target="claim", key="id")
    guard = AddGuard("claims", target="claim", key="id", on_missing="warn")
    removed = [operation.reverse() for operation in (capture, guard)]
    assert [type(operation) for operation in removed] == [RemoveCapture, RemoveGuard]
    assert [operation.reverse().to_diff_tuple() for operation in removed] == [
        capture.to_diff_tuple(),
        guard.to_diff_tuple(),
    ]
    lines = render_python_code(UpgradeOps(ops=[capture, guard, *removed])).splitlines()
    assert "op.add_capture('claims', target='claim', key='id')" in lines[1]
    assert "op.add_guard('claims', target='claim', key='id', on_missing='warn')" in lines[2]
    assert "op.remove_capture('claims', target='claim', key='id')" in lines[3]


def test_an_unknown_option_is_refused_at_once() -> None:
    """Before anything reaches the database."""
    with pytest.raises(TypeError, match="colums"):
        AddCapture("claims", target="claim", key="id", colums=("id",))


def test_the_migration_of_the_documentation_runs(project: Config, conn: psycopg.Connection, tmp_path: Path) -> None:
    """The migration that the documentation prints runs forwards and backwards."""
    shutil.copy(ROOT / "docs" / "code" / "alembic_capture.py", tmp_path / "versions" / "1.py")
    command.upgrade(project, "head")
    assert [[each.table for each in kind] for kind in added(conn)] == [["public.claims"], ["public.claims"]]
    conn.rollback()
    command.downgrade(project, "base")
    assert added(conn) == ([], [])
