"""A server that a test may crash, stop and start."""

import signal
import subprocess
from collections.abc import Generator

import pytest

from pgaudit import migrate
from pgaudit.testing.server import Server


class CrashableServer(Server):
    """A migrated server of the test's own."""

    child_process: subprocess.Popen[bytes] | None

    def crash(self) -> None:
        """What ``pg_ctl stop -m immediate`` does: the next start recovers from the WAL."""
        assert self.child_process is not None
        self.child_process.send_signal(signal.SIGQUIT)
        self.child_process.wait()
        self.child_process = None


@pytest.fixture
def own_server() -> Generator[CrashableServer]:
    """A server for this test alone."""
    server = CrashableServer()
    try:
        migrate.upgrade(server.conninfo)
        yield server
    finally:
        server.stop()
