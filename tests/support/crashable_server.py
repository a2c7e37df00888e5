"""A server that a test can crash, stop and start."""

import signal
import subprocess

from pgaudit.testing.server import Server


class CrashableServer(Server):
    """A server whose postmaster the test may kill."""

    child_process: subprocess.Popen[bytes] | None

    def crash(self) -> None:
        """Does what ``pg_ctl stop -m immediate`` does: the next start recovers from the WAL."""
        assert self.child_process is not None
        self.child_process.send_signal(signal.SIGQUIT)
        self.child_process.wait()
        self.child_process = None
