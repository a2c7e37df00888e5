"""Workers: beside the application or inside it.

=================================================  ====================================================
``pgaudit worker``                                 a process of its own, restarted after outages
``procrastinate --app=pgaudit.worker.app worker``  the same under Procrastinate's own command
``async with pgaudit.worker.running():``           in the application's event loop (an ASGI lifespan)
``pgaudit.worker.start_in_thread()``               in a thread of a synchronous application
=================================================  ====================================================

The first two serve the health route on ``PGAUDIT_HEALTH_PORT``; an application has HTTP of its own.
"""

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from types import TracebackType
from typing import Self, Unpack

from procrastinate.app import WorkerOptions

from pgaudit.application import AuditApp
from pgaudit.settings import Settings
from pgaudit.supervisor import run_in_foreground, supervise

__all__ = ["WorkerThread", "app", "run", "running", "start_in_thread"]

app: AuditApp


def __getattr__(name: str) -> AuditApp:
    """Makes ``app`` when Procrastinate asks for it: importing this module needs no valid environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = ProbedApp(Settings())
    return made


class ProbedApp(AuditApp):
    """Serves the health route for as long as its worker runs."""

    async def run_worker_async(self, **options: Unpack[WorkerOptions]) -> None:
        with probing(self.settings):
            await super().run_worker_async(**options)


def run(settings: Settings | None = None) -> None:
    """Runs a worker in this process until SIGTERM or SIGINT.

    :raises OSError: somebody else listens on ``health_port``.
    """
    settings = settings or Settings()
    with probing(settings):
        asyncio.run(run_in_foreground(settings))


def probing(settings: Settings) -> AbstractContextManager[None]:
    """Serves the health route meanwhile, if a port is set for it."""
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


def start_in_thread(settings: Settings | None = None) -> "WorkerThread":
    """Runs a worker in a thread of this process until ``stop()``, or until the process exits.

    >>> worker = start_in_thread(settings)
    >>> worker.stop()
    """
    return WorkerThread(settings or Settings())


class WorkerThread:
    """A worker in a thread; also a context manager that stops it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = threading.Event()
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="pgaudit worker", daemon=True)
        self._thread.start()
        self._started.wait()
        atexit.register(self.stop)

    def _run(self) -> None:
        try:
            asyncio.run(self._supervise())
        except RuntimeError:
            # While the interpreter exits, Python 3.12 starts no thread, and asyncio needs one to close its executor.
            if not self._finished:
                raise
        finally:
            self._started.set()  # a loop that could not be made has ended, too

    async def _supervise(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await supervise(self._settings, self._stop)
        self._finished = True

    def stop(self) -> None:
        """Finishes what runs, and ends the thread; after ``shutdown_timeout`` what still runs is given back.

        Safe to repeat. Called in the worker's own thread, by a receiver of a signal, it does not wait.
        """
        atexit.unregister(self.stop)
        if not self._thread.is_alive():
            return
        with suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
