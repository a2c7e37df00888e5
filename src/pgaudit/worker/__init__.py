"""Workers: beside the application or inside it.

=================================================  ====================================================
``pgaudit worker``                                 a process of its own, restarted after outages
``procrastinate --app=pgaudit.worker.app worker``  the same under Procrastinate's own command
``async with pgaudit.worker.running():``           in the application's event loop (an ASGI lifespan)
``pgaudit.worker.start_in_thread()``               in a thread of a synchronous application
=================================================  ====================================================

The first two serve the health route on ``PGAUDIT_HEALTH_PORT``; an application has HTTP of its own.

=====================  ==================================================================================
supervisor             restarts a worker after an outage, until a signal or the application stops it
thread                 runs the supervisor in a thread
procrastinate_app      Procrastinate's App and Worker, with the parts below; drains the queue at shutdown
requirements           checks the schema and the rights before a worker starts
persist                the task: takes a batch from the queue and appends it to the audit log
failures               an attempt that failed: who is to blame, when it runs again, its record
retry_policy           delays between attempts
rescue                 jobs of stalled workers, and jobs that a worker holds and does not run
maintenance            what runs beside the jobs: rescue, partitions, pruning, spooled events
sealing                seals the log: tree, checkpoints, anchors, the index of targets
streaming              sends streams to their destinations
processing             runs processors in threads of their own
processor_app          Procrastinate's App for the jobs of processors
processor_job_manager  fetches these jobs
processor_outcomes     saves how they end; ``grouped_saves``: several jobs with one statement
verification           verifies the log: what is new, and now and then all of it
congestion             how large batches are and how long pauses, while the infrastructure fails
heartbeat              shows that the worker is alive
job_manager            registers the worker and fetches its jobs
connection             connections of threads, beside the pool
connector              Procrastinate's statements, in our schema
pool                   connections, opened when needed and kept while they work
repetition             limits repeated warnings, and leaves Procrastinate's lines out of the log
state                  what the worker is doing; the others share it
=====================  ==================================================================================
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Unpack

from procrastinate.app import WorkerOptions

from pgaudit.settings import Settings
from pgaudit.worker.procrastinate_app import AuditApp
from pgaudit.worker.repetition import quiet_log
from pgaudit.worker.supervisor import run_in_foreground, supervise
from pgaudit.worker.thread import WorkerThread

__all__ = ["WorkerThread", "app", "run", "running", "start_in_thread"]

app: AuditApp


def __getattr__(name: str) -> AuditApp:
    """Creates ``app`` when Procrastinate asks for it: importing this module needs no valid environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = ProbedApp(Settings())
    return made


class ProbedApp(AuditApp):
    """Serves the health route for as long as its worker runs."""

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        with quiet_log(), serve_health(self.settings):
            await super().run_worker_async(**options)


def run(settings: Settings | None = None) -> None:
    """Runs a worker in this process until SIGTERM or SIGINT.

    :raises OSError: ``health_port`` is in use.
    """
    settings = settings or Settings()
    with serve_health(settings):
        asyncio.run(run_in_foreground(settings))


def serve_health(settings: Settings) -> AbstractContextManager[None]:
    """Serves the health route inside the block, if ``health_port`` is set."""
    if settings.health_port is None:
        return nullcontext()
    from pgaudit import web  # noqa: PLC0415 - its packages are an extra

    return web.probing(settings, settings.health_port)


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncGenerator[None]:
    """Runs a worker in this event loop for as long as the block lasts, then finishes what it is doing.

    >>> @asynccontextmanager
    ... async def lifespan(app):
    ...     async with running(settings):
    ...         yield
    """
    stop = asyncio.Event()
    supervised = asyncio.create_task(supervise(settings or Settings(), stop))
    try:
        yield
    finally:
        stop.set()
        await supervised


def start_in_thread(settings: Settings | None = None) -> WorkerThread:
    """Runs a worker in a thread of this process until ``stop()``, or until the process exits.

    :raises WorkerRefused: gevent has replaced the threads of this process.

    >>> worker = start_in_thread(settings)
    >>> worker.stop()
    """
    return WorkerThread(settings or Settings())
