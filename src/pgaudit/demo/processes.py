"""The processes of the demo: workers, and the application."""

import os
import subprocess
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Final

from pgaudit.demo.server import undisturbed
from pgaudit.errors import PgauditError

APPLICATIONS: Final = 3
STALLED_AFTER: Final = "2"
LONGEST_STOP: Final = 15.0


@dataclass
class Worker:
    """A worker process; its number is the database's, once it has registered."""

    process: subprocess.Popen[bytes]
    number: int | None = None
    killed: bool = False

    def kill(self) -> None:
        """Sends SIGKILL: the process cannot finish anything."""
        self.process.kill()
        self.process.wait()
        self.killed = True


@dataclass
class Processes:
    """All of them. None outlives the demo."""

    dsn: str
    log: IO[bytes]  # what all of them print
    workers: list[Worker] = field(default_factory=list[Worker])
    applications: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    foreign_worker_ids: set[int] = field(default_factory=set[int])  # numbers of workers that the demo did not start

    def start_worker(self) -> Worker:
        """Starts ``pgaudit worker``."""
        # Without linger every batch begins with a fetched job: what a killed worker leaves behind is seen.
        settings = {"PGAUDIT_STALLED_AFTER": STALLED_AFTER, "PGAUDIT_LINGER": "0"}
        # Postgres goes on with what a dead client has sent, unless it looks after it: as if the machine had vanished.
        settings["PGOPTIONS"] = "-c client_connection_check_interval=20"
        worker = Worker(self._start(["pgaudit", "worker"], settings))
        self.workers.append(worker)
        return worker

    def start_applications(self, seconds: float) -> None:
        """Starts the processes of the claims application; they end by themselves."""
        for _ in range(APPLICATIONS):
            self.applications.append(self._start(["pgaudit.demo.workload", str(seconds)]))

    def _start(self, module: list[str], settings: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PGAUDIT_DSN": self.dsn, "PYTHONUNBUFFERED": "1"} | (settings or {})
        # A session of their own: Ctrl-C is the demo's to handle, and it stops them in order.
        return subprocess.Popen(
            [sys.executable, "-m", *module], env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def meet(self, numbers: Collection[int]) -> list[Worker]:
        """Gives workers that have just registered their numbers; which ones they are."""
        met: list[Worker] = []
        for number in sorted(set(numbers) - self.foreign_worker_ids):
            worker = next(worker for worker in self.workers if worker.number is None)
            worker.number = number
            self.foreign_worker_ids.add(number)
            met.append(worker)
        return met

    def applications_run(self) -> bool:
        """Returns whether the application is still running."""
        return any(process.poll() is None for process in self.applications)

    def check(self) -> None:
        """Looks whether all is well.

        :raises PgauditError: a process has ended that should not have; the message has its last words.
        """
        failed = [process for process in self.applications if process.poll()]
        ended = [worker for worker in self.workers if not worker.killed and worker.process.poll() is not None]
        if failed or ended:
            self.log.seek(0)
            words = self.log.read().decode(errors="replace")[-2_000:]
            raise PgauditError(f"a process of the demo ended too early:\n{words}")

    def stop(self) -> None:
        """Asks all processes to end, and kills those that take too long."""
        running = [worker.process for worker in self.workers] + self.applications
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(LONGEST_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def processes(dsn: str) -> Generator[Processes]:
    """Returns processes that are ended with the block."""
    with TemporaryFile() as log:
        started = Processes(dsn, log)
        try:
            yield started
        finally:
            with undisturbed():
                started.stop()
