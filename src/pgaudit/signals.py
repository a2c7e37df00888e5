"""What happens in a worker, for those who want to be told: for alerts and metrics of your own.

>>> @job_failed.connect
... def page(signal, *, job_id, error_class, **details):
...     alert(f"{signal}: job {job_id}, {error_class}")

Each is a line of the logger ``pgaudit.worker`` too, its details in ``extra`` and ready for JSON: ``action``, which is
the signal's name, and what is listed below. Neither holds anything of the event, nor an error's
message, which may quote it: ``pgaudit jobs show`` has that.

A receiver is called in the worker's event loop, in the worker's process: it hands what takes time to a thread.
"""

import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

logger = logging.getLogger("pgaudit.worker")

R = TypeVar("R", bound=Callable[..., object])


class Signal:
    """Something that happens, told to every receiver: ``receiver(name, **details)``."""

    def __init__(self, name: str, level: int, line: str) -> None:
        self.name = name
        self._level = level
        self._line = line
        self._lock = threading.Lock()
        self._references: tuple[Callable[[], Callable[..., object] | None], ...] = ()

    def __repr__(self) -> str:
        return f"<signal {self.name}>"

    def connect(self, receiver: R, *, weak: bool = False) -> R:
        """Tells this receiver from now on, once however often it is connected; also a decorator.

        :param weak: forget it when nothing else holds it.
        :raises TypeError: it is asynchronous, and nobody would await it.
        """
        if inspect.iscoroutinefunction(receiver):
            raise TypeError(f"{receiver!r} is asynchronous: connect a function that makes a task of it")
        reference = weak_reference(receiver) if weak else lambda: receiver
        with self._lock:
            self._references = (*self._without(receiver), reference)
        return receiver

    def disconnect(self, receiver: Callable[..., object]) -> None:
        """Tells it no more; no harm if it was not connected."""
        with self._lock:
            self._references = self._without(receiver)

    def send(self, **details: Any) -> None:
        """Logs it and tells it. A receiver that raises is logged, and disturbs nobody."""
        logger.log(self._level, self._line, details, extra={"action": self.name, **details})
        for reference in self._references:
            receiver = reference()
            if receiver is None:
                continue
            try:
                receiver(self.name, **details)
            except Exception:
                extra = {"action": "receiver_failed", "signal": self.name}
                logger.exception("a receiver of %s raised, the worker goes on: %r", self.name, receiver, extra=extra)

    def _without(self, receiver: object) -> tuple[Callable[[], Callable[..., object] | None], ...]:
        """The references that live, without those to this receiver."""
        return tuple(reference for reference in self._references if reference() not in (None, receiver))


def weak_reference(receiver: Callable[..., object]) -> Callable[[], Callable[..., object] | None]:
    """A reference that keeps nothing alive; a bound method lives as long as its object."""
    return weakref.WeakMethod(receiver) if inspect.ismethod(receiver) else weakref.ref(receiver)


job_completed: Final = Signal("job_completed", logging.DEBUG, "%(count)d job(s) completed")
"""A batch is in the log: ``count`` of its jobs, ``worker_id``. Logged at DEBUG, for there may be many a second."""

job_retried: Final = Signal(
    "job_retried",
    logging.WARNING,
    "job %(job_id)d runs again in %(retry_in).1f s: %(error_class)s, SQLSTATE %(sqlstate)s",
)
"""An attempt failed, another follows: ``job_id``, ``error_class``, ``sqlstate``, ``attempt``, ``retry_in`` seconds."""

job_failed: Final = Signal(
    "job_failed",
    logging.ERROR,
    "job %(job_id)d failed for good: %(error_class)s, SQLSTATE %(sqlstate)s; see `pgaudit jobs show %(job_id)d`",
)
"""A job stays until someone retries it: ``job_id``, ``error_class`` (JobStalled: too many stalls), ``sqlstate``."""

job_stalled: Final = Signal(
    "job_stalled", logging.WARNING, "job %(job_id)d was taken from worker %(worker_id)s, stall %(stalls)d"
)
"""A job's worker was silent or gone: ``job_id``, ``worker_id``, ``stalls`` so far, ``failed`` if that ended it."""

worker_started: Final = Signal("worker_started", logging.INFO, "worker %(worker_id)d started")
"""A worker is registered, and takes jobs: ``worker_id``."""

worker_stopped: Final = Signal("worker_stopped", logging.INFO, "worker %(worker_id)d stopped")
"""A worker takes no more jobs; a drain may follow: ``worker_id``."""
