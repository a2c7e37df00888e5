"""The server that is started for tests: who can reach it, what it may do, what it leaves behind."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit.testing import programs
from pgaudit.testing.server import TemporaryServer, copy_of_programs


@pytest.fixture(scope="module")
def temporary() -> Iterator[TemporaryServer]:
    """A server with a setting of its own."""
    server = TemporaryServer(max_prepared_transactions=2)
    yield server
    server.stop()


@pytest.fixture
def postgres(temporary: TemporaryServer) -> Iterator[psycopg.Connection]:
    """A connection of its superuser."""
    with psycopg.connect(temporary.conninfo) as conn:
        yield conn


def value(conn: psycopg.Connection, query: str) -> object:
    """Returns the one value of a query."""
    (found,) = conn.execute(query.encode()).fetchone() or (None,)
    return found


def test_no_other_user_can_connect(temporary: TemporaryServer, postgres: psycopg.Connection) -> None:
    """The server listens on no network; the directory of its only socket is open to its own user."""
    assert value(postgres, "SHOW listen_addresses") == ""
    assert value(postgres, "SHOW unix_socket_directories") == str(temporary.home)
    assert stat.S_IMODE(temporary.home.stat().st_mode) == 0o700


def test_the_network_is_refused_even_where_someone_listens(postgres: psycopg.Connection) -> None:
    """The rules of access reject every host."""
    methods = "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules WHERE type <> 'local'"
    assert value(postgres, methods) == ["reject"]


def test_the_server_has_no_right_of_root(temporary: TemporaryServer) -> None:
    """The server runs as an unprivileged user without capabilities, also when root starts it."""
    pid = (temporary.home / "data" / "postmaster.pid").read_text().splitlines()[0]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: values.split() for name, _, values in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"]
    assert "0" not in status["Gid"]
    assert [int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [0, 0, 0, 0]


def test_its_superuser_cannot_read_what_others_may_not(postgres: psycopg.Connection) -> None:
    """The passwords of the system, for example."""
    with pytest.raises(InsufficientPrivilege, match="Permission denied"):
        postgres.execute("SELECT pg_read_file('/etc/shadow')")


def test_the_server_has_the_settings_that_it_is_given(postgres: psycopg.Connection) -> None:
    """A keyword argument of TemporaryServer is a setting of the server."""
    assert value(postgres, "SHOW max_prepared_transactions") == "2"


def test_data_survives_a_crash_and_not_the_end() -> None:
    """``halt`` keeps it, ``stop`` removes it, whether the server is running or not."""
    server = TemporaryServer(fsync="on")
    with psycopg.connect(server.conninfo) as conn:
        conn.execute("CREATE TABLE kept ()")
    server.halt("immediate")
    server.start()
    with psycopg.connect(server.conninfo) as conn:
        assert value(conn, "SELECT count(*) FROM kept") == 0
    server.halt()
    server.stop()
    assert not server.home.exists()


def test_programs_that_only_root_may_read_are_copied(tmp_path: Path) -> None:
    """An environment below /root, for example: the unprivileged server runs a copy, which it removes at its end."""
    bundled = programs.of_wheel()[-1]
    tmp_path.chmod(0o700)
    hidden = copy_of_programs(bundled, tmp_path)
    server = TemporaryServer(hidden)
    try:
        with psycopg.connect(server.conninfo) as conn:
            assert str(value(conn, "SHOW server_version")).startswith(programs.version_of(bundled))
    finally:
        server.stop()
    assert not server.home.exists()


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the server's own words."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    try:
        with pytest.raises(
            RuntimeError, match=r'(?s)pg_ctl failed: .*unrecognized configuration parameter "no_setting"'
        ):
            TemporaryServer(no_setting=1)
        assert list(directory.iterdir()) == []
    finally:
        rmtree(directory)
