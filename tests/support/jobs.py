"""The queue as the tests of the worker fill it, run it and look at it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from pgaudit import AuditLog, Settings
from pgaudit.worker.procrastinate_app import AuditApp
from tests.postgres import trail
from tests.postgres.trail import event
from tests.worker.inside import until

Connection = psycopg.Connection[Any]


def record(dsn: str, count: int = 1) -> None:
    """Queues that many events, and commits."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, *(event(number) for number in range(count)))


def insert_poison(conn: Connection, content: str = "{}") -> int:
    """Queues a job whose event nobody can persist, and commits; returns its number."""
    job = trail.insert_poison(conn, content)
    conn.commit()
    return job


def register(conn: Connection, stalled_after: str = "30 s", max_stalls: int = 5) -> tuple[int, UUID]:
    """Registers a worker; returns its number and its token."""
    ((number, token),) = rows(conn, "SELECT * FROM pgaudit.register_worker(%s, %s)", [stalled_after, max_stalls])
    return number, token


def silence(conn: Connection, worker: int, since: str = "1 minute") -> None:
    """Dates a worker's last heartbeat back."""
    query = "UPDATE pgaudit.procrastinate_workers SET last_heartbeat = clock_timestamp() - %s::interval WHERE id = %s"
    conn.execute(query, [since, worker])
    conn.commit()


def fetch(conn: Connection, token: UUID | None) -> int | None:
    """Fetches a job for the worker with that token; returns the job's number, None when there is none."""
    fetched = rows(conn, "SELECT job_id FROM pgaudit.fetch_job(%s)", [token])
    return fetched[0][0] if fetched else None


def value(conn: Connection, query: str, parameters: list[Any] | None = None) -> Any:
    """The one value that a query returns, as committed now."""
    row = conn.execute(query, parameters).fetchone()
    conn.commit()
    return row[0] if row else None


def rows(conn: Connection, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows that a query returns, as committed now."""
    found = conn.execute(query, parameters).fetchall()
    conn.commit()
    return found


@dataclass
class Running:
    """A worker in this process."""

    app: AuditApp
    run: asyncio.Task[None]
    stopping: bool = False

    @property
    def number(self) -> int | None:
        """The worker's, once it has registered itself."""
        return self.app.job_manager.worker_id

    def stop(self) -> None:
        """Begins a shutdown. Once: a second cancellation would not wait for what runs."""
        if not self.stopping:
            self.stopping = True
            self.run.cancel()


@asynccontextmanager
async def working(settings: Settings, kind: type[AuditApp] = AuditApp) -> AsyncGenerator[Running]:
    """A worker that runs for as long as the block lasts, and has registered itself."""
    app = kind(settings)
    async with app.open_async():
        worker = Running(app, asyncio.create_task(app.run_worker_async(install_signal_handlers=False)))
        try:
            await until(lambda: worker.run.done() or worker.number is not None)
            yield worker
        finally:
            worker.stop()
            with suppress(asyncio.CancelledError):
                await worker.run
