"""A real PgBouncer in transaction mode: each transaction may run in another server session."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import psycopg

PROGRAM = which("pgbouncer") or "/usr/sbin/pgbouncer"
CONFIGURATION = """
[databases]
* = host={server_host} port={server_port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
logfile = {directory}/log
"""


@contextmanager
def running(dsn: str, pool_size: int) -> Iterator[str]:
    """Runs PgBouncer with that many server sessions inside the block; returns the DSN that leads through it."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as directory:
        port = free_port()
        process = start(Path(directory), given, port, pool_size)
        try:
            through = psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=port)
            wait_for(through, process)
            yield through
        finally:
            process.terminate()
            process.wait(10)


def start(directory: Path, server: dict[str, Any], port: int, pool_size: int) -> subprocess.Popen[bytes]:
    """Starts the program as an unprivileged user, because it refuses to run as root."""
    values: dict[str, Any] = {"port": port, "pool_size": pool_size, "directory": directory}
    values |= {"server_host": server["host"], "server_port": server["port"]}
    (directory / "ini").write_text(CONFIGURATION.format(**values))
    command = [PROGRAM, "-q", str(directory / "ini")]
    if os.geteuid() == 0:
        command = [PROGRAM, "-q", "-u", "nobody", str(directory / "ini")]
        for path in (directory, directory / "ini"):
            os.chown(path, 65534, 65534)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port() -> int:
    """Returns a port that is not in use."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(dsn: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until PgBouncer accepts a session."""
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "pgbouncer has ended"
            assert time.monotonic() < deadline, "pgbouncer does not answer"
            time.sleep(0.05)  # between two attempts
        else:
            return
