"""Keeps a worker running through outages of any length, until it is stopped."""

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Final

from pgaudit import _db_errors
from pgaudit._backoff import with_jitter
from pgaudit._db_errors import safe_summary
from pgaudit.errors import InvalidSettings, WorkerRefused
from pgaudit.settings import Settings
from pgaudit.worker.procrastinate_app import CANCEL_AGAIN_SECONDS, AuditApp
from pgaudit.worker.repetition import quiet_log

logger = logging.getLogger("pgaudit.worker")

# Classes of SQLSTATE: invalid role, missing database, missing schema, missing object or right.
MISSING_OR_FORBIDDEN: Final = frozenset({"28", "3D", "3F", "42"})
FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 15.0
ONE_SIGNAL_SECONDS: Final = 1.0
STABLE_AFTER_SECONDS: Final = 15.0  # a longer run was not a failed start, so the delay is reset


async def supervise(settings: Settings, stop: asyncio.Event) -> None:
    """Runs a worker, and restarts it when it ends, until ``stop`` is set. Then the running jobs are finished.

    :raises InvalidSettings: no worker can run with these settings.
    :raises WorkerRefused: the system is not POSIX; or the schema or a right is missing, and ``worker_exit_on_refusal``
        is set.
    """
    refuse_other_systems()
    with quiet_log():
        await keep_running(settings, stop)


def refuse_other_systems() -> None:
    """Raises WorkerRefused on a system such as Windows, whose event loop psycopg cannot use."""
    if not hasattr(os, "geteuid"):
        raise WorkerRefused("a worker needs a POSIX system, such as Linux or macOS: run it there; recording works here")


async def keep_running(settings: Settings, stop: asyncio.Event) -> None:
    """Restarts a worker after pauses that grow from 0.5 s to 15 s. Raises the errors of ``supervise``."""
    delay = FIRST_DELAY_SECONDS
    while not stop.is_set():
        started = time.monotonic()
        error = await run_until(stop, settings)
        if isinstance(error, InvalidSettings):
            raise error
        reason = describe(error)
        if error and settings.worker_exit_on_refusal and is_refusal(error):
            raise WorkerRefused(f"this worker cannot work: {reason}") from error
        if stop.is_set():
            if error:
                logger.warning("worker ended while it shut down: %s", reason)
            return
        if time.monotonic() - started > STABLE_AFTER_SECONDS:
            delay = FIRST_DELAY_SECONDS
        pause = with_jitter(delay)
        logger.warning("worker ended, starting again in %.1f s: %s", pause, reason)
        await wait_at_most(stop, pause)
        delay = min(delay * 2, MAX_DELAY_SECONDS)


def describe(error: Exception | None) -> str:
    """Returns why a worker ended, in one line."""
    if error is None:
        return "it stopped by itself"
    return str(error) if isinstance(error, WorkerRefused) else safe_summary(error)


def is_refusal(error: Exception) -> bool:
    """Returns whether the schema is missing, or the role lacks the right to connect or to work."""
    found = _db_errors.origin(error)
    if isinstance(error, WorkerRefused) or found is None:
        return isinstance(error, WorkerRefused)
    return (found.sqlstate or "")[:2] in MISSING_OR_FORBIDDEN or bool(_db_errors.hint_for_connection(found))


async def run_until(stop: asyncio.Event, settings: Settings) -> Exception | None:
    """Runs a worker until it ends or ``stop`` is set. Returns the error that ended it, if one did."""
    app = AuditApp(settings)
    run = asyncio.create_task(open_and_run(app))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        await end(run, app)
        await app.close_async()  # also after a start that was cancelled, which may have opened connections
    if run.cancelled():
        return None
    error = run.exception()
    return error if isinstance(error, Exception) else None


async def open_and_run(app: AuditApp) -> None:
    """Opens the connections and runs a worker."""
    await app.open_async()
    await app.run_worker_async(install_signal_handlers=False)


async def end(run: asyncio.Task[None], app: AuditApp) -> None:
    """Waits until a worker has finished its jobs. Cancels one that is still starting, every second until it ends."""
    while not run.done():
        if not app.stop_worker():
            run.cancel()
        await asyncio.wait({run}, timeout=CANCEL_AGAIN_SECONDS)


async def wait_at_most(stop: asyncio.Event, seconds: float) -> None:
    """Waits that long, or until ``stop`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def run_in_foreground(settings: Settings) -> None:
    """Supervises a worker until SIGTERM or SIGINT. A second signal exits at once; nothing is lost either way."""
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.handle_signal, number)
    await supervise(settings, stopping.stop)


class Stopping:
    """Handles signals of the operating system: the first stops gracefully, a later one at once."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._first_at = 0.0

    def handle_signal(self, number: signal.Signals) -> None:
        """Stops gracefully, or, the second time, at once.

        Two within a second are one: a shell and a process manager may both pass on the same Ctrl-C.
        """
        if not self.stop.is_set():
            logger.info("%s: finishing what runs; a second signal exits at once", number.name)
            self._first_at = time.monotonic()
            self.stop.set()
        elif time.monotonic() - self._first_at > ONE_SIGNAL_SECONDS:
            os._exit(128 + number)
