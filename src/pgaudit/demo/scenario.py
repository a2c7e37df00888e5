"""The plot: the application works, a worker is killed in the middle of a batch, the others take over."""

import time
from typing import Any, Final

import psycopg

from pgaudit import jobs
from pgaudit.demo.counts import Figures, Takeover, figures, share_of, takeover_of
from pgaudit.demo.processes import Processes, Worker
from pgaudit.demo.screen import Moment, Screen, WorkerLine

HOLD_LOG: Final = "SELECT FROM pgaudit.log_lock FOR UPDATE"
TICK: Final = 0.15
# The batches that a worker has sent, and Postgres has not finished.
SENT: Final = """
    SELECT pid FROM pg_stat_activity
     WHERE state = 'active' AND pid <> pg_backend_pid()
       AND position(%s IN query) > 0 AND query LIKE '%%pgaudit.persist(%%'
"""
SELECT_TOKEN: Final = "SELECT token::text FROM pgaudit.procrastinate_workers WHERE id = %s"  # noqa: S105 - a query
LONGEST_HOLD: Final = 10.0
LONGEST_DRAIN: Final = 60.0


class Plot:
    """One performance. ``takeover`` is what became of the job that the killed worker held."""

    def __init__(self, conn: psycopg.Connection[Any], crew: Processes, screen: Screen, seconds: float) -> None:
        self.takeover: Takeover | None = None
        self._conn = conn
        self._crew = crew
        self._screen = screen
        self._seconds = seconds
        self._begun: float | None = None
        self._killed_job: int | None = None

    def run(self) -> None:
        """Runs until the application has ended and its last event is in the audit log, for a minute at most."""
        self._crew.start_applications(self._seconds)
        now = before = figures(self._conn)
        working = True
        while working or (now.queued and self._elapsed < self._seconds + LONGEST_DRAIN):
            time.sleep(TICK)
            working = self._crew.applications_run()  # asked first: the figures hold the last that an ended one did
            now = figures(self._conn)
            if self._begun is None and now.changes > before.changes:
                self._begin()
            self._crew.check()
            self._greet(now)
            self._kill_half_way()
            self._follow_takeover()
            self._show(now)
        rest = f"[red]{now.queued:,} events are still queued[/]" if now.queued else "the queue is empty"
        self._tell(f"the application has ended, {rest}")
        self._show(now)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun if self._begun is not None else 0.0

    def _begin(self) -> None:
        self._begun = time.monotonic()
        self._tell("claims come in and are worked on; some payments are rolled back")

    def _greet(self, now: Figures) -> None:
        for worker in self._crew.meet(now.workers):
            self._tell(f"worker {worker.number} takes its place")

    def _kill_half_way(self) -> None:
        victim = self._crew.workers[0]
        if victim.killed or self._elapsed < self._seconds / 2:
            return
        self._killed_job = self._kill_in_a_batch(victim)
        busy = f"in the middle of a batch, on job {self._killed_job}" if self._killed_job else "while idle"
        self._tell(f"[red]worker {victim.number} is killed (SIGKILL) {busy}[/]")
        self._crew.start_worker()

    def _kill_in_a_batch(self, victim: Worker) -> int | None:
        """Kills a worker while it runs a job. Returns the job; None when it has none within ten seconds."""
        end = time.monotonic() + LONGEST_HOLD
        job = None
        with self._conn.transaction():
            # No worker can append meanwhile: the worker's next batch waits right before its end.
            self._conn.execute(HOLD_LOG)
            while job is None and time.monotonic() < end:
                active = jobs.list_jobs(self._conn, "active")
                job = next((job.job_id for job in active if job.worker_id == victim.number), None)
            victim.kill()
            self._wait_until_missed(victim)
        return job

    def _wait_until_missed(self, victim: Worker) -> None:
        """Waits until Postgres has given up the connections of the killed worker, for ten seconds at most."""
        end = time.monotonic() + LONGEST_HOLD
        token = self._conn.execute(SELECT_TOKEN, [victim.number]).fetchone()
        while self._conn.execute(SENT, token).fetchone() and time.monotonic() < end:
            self._conn.execute("SELECT pg_stat_clear_snapshot()")
            time.sleep(TICK / 10)

    def _follow_takeover(self) -> None:
        if self._killed_job is None or (self.takeover and self.takeover.appended_by):
            return
        known, self.takeover = self.takeover, takeover_of(self._conn, self._killed_job)
        if self.takeover and not known:
            self._tell(f"job {self._killed_job} is back in the queue: {self.takeover.error.partition(' while')[0]}")
        if self.takeover and self.takeover.appended_by:
            self._tell(f"[green]job {self._killed_job} is taken over by worker {self.takeover.appended_by}[/]")

    def _show(self, now: Figures) -> None:
        lines = [self._line(worker) for worker in self._crew.workers]
        self._screen.show(Moment(self._elapsed, self._seconds, now, lines))

    def _tell(self, text: str) -> None:
        self._screen.tell(self._elapsed, text)

    def _line(self, worker: Worker) -> WorkerLine:
        if worker.number is None:
            return WorkerLine("worker", "starting", "")
        share = share_of(self._conn, worker.number)
        state = "[red]killed[/]" if worker.killed else "[green]running[/]"
        return WorkerLine(f"worker {worker.number}", state, f"{share.events:,} events in {share.batches:,} batches")
