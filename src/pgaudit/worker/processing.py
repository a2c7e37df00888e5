"""Runs processors in a worker: a thread with an event loop for their jobs, and a thread that dispatches.

Their code does not run in the event loop of the audit queue: if it blocks, events must still get into the log.
"""

import asyncio
import logging
import threading
from contextlib import suppress

from pgaudit._db_errors import safe_summary
from pgaudit.processors.declaration import DECLARED
from pgaudit.processors.dispatcher import Dispatcher
from pgaudit.processors.modules import load
from pgaudit.settings import Settings
from pgaudit.worker.connection import connect
from pgaudit.worker.heartbeat import heartbeat_interval
from pgaudit.worker.processor_app import ProcessorApp
from pgaudit.worker.state import WorkerState

logger = logging.getLogger("pgaudit.worker")

PAUSE_SECONDS = 1.0  # after an outage
CANCEL_AGAIN_SECONDS = 1.0  # while it starts: see procrastinate_app
LEAVE_SECONDS = 5.0  # for what is left to do after the jobs have ended


class Processing:
    """The processors of a worker, from its start to its end."""

    def __init__(self, settings: Settings, state: WorkerState) -> None:
        self._settings = settings
        self._state = state
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts, if there are processors."""
        self._stopping.clear()
        if self._settings.processors or DECLARED:
            self._thread = threading.Thread(target=self._run, name="pgaudit processors", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Takes no more jobs. Safe in any thread, and to repeat."""
        self._stopping.set()
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._stop.set)

    async def end(self) -> None:
        """Waits until the jobs that run have ended, or were given back after ``shutdown_timeout``."""
        self.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._settings.shutdown_timeout + LEAVE_SECONDS)
            self._thread = None

    def _run(self) -> None:
        load(self._settings.processors)
        processors = dict(DECLARED)
        dispatcher = Dispatcher(
            processors,
            self._settings,
            connect,
            self._stopping,
            heartbeat_interval(self._settings),
            self._state.throttle,
        )
        dispatching = threading.Thread(target=dispatcher.run, name="pgaudit dispatcher", daemon=True)
        dispatching.start()
        if self._settings.processor_concurrency:
            asyncio.run(self._work(ProcessorApp(self._settings, self._state, processors)))
        self._stopping.wait()
        dispatching.join(LEAVE_SECONDS)

    async def _work(self, app: ProcessorApp) -> None:
        """Runs jobs until the worker stops, through outages of any length."""
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            try:
                await run_until(self._stop, app)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.warning("the jobs of processors were interrupted, will retry: %s", safe_summary(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), PAUSE_SECONDS)


async def run_until(stop: asyncio.Event, app: ProcessorApp) -> None:
    """Runs jobs until ``stop`` is set; then waits for those that run."""
    run = asyncio.create_task(open_and_run(app))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not run.done():
        run.cancel()  # Procrastinate's worker takes it as the request to shut down gracefully
    while not run.done():
        await asyncio.wait({run}, timeout=CANCEL_AGAIN_SECONDS)
        if not app.is_running:
            run.cancel()
    if not run.cancelled():
        run.result()


async def open_and_run(app: ProcessorApp) -> None:
    """Opens the connections and runs jobs."""
    app.latest = None
    async with app.open_async():
        await app.run_worker_async()
