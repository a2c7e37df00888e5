"""A worker in a thread of a synchronous application."""

import asyncio
import atexit
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from pgaudit.errors import WorkerRefused
from pgaudit.settings import Settings
from pgaudit.worker.supervisor import refuse_other_systems, supervise


def refuse_green_threads() -> None:
    """Raises WorkerRefused under gevent: the worker's event loop would block the application's thread."""
    patched = sys.modules.get("gevent.monkey")
    if patched and patched.is_module_patched("threading"):
        raise WorkerRefused("gevent has replaced the threads, so a worker cannot have one: run `pgaudit worker` beside")


class WorkerThread:
    """A worker in a thread; also a context manager that stops it."""

    def __init__(self, settings: Settings) -> None:
        refuse_other_systems()
        refuse_green_threads()
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
            self._started.set()  # also when the event loop could not be created

    async def _supervise(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await supervise(self._settings, self._stop)
        self._finished = True

    def stop(self) -> None:
        """Finishes the running jobs and ends the thread; jobs that outlast ``shutdown_timeout`` are given back.

        Safe to repeat. In the worker's own thread, called by a receiver of a signal, it does not wait.
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
