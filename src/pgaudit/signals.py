"""What happens in a worker, for those who want to be told: for alerts and metrics of your own.

>>> @job_failed.connect
... def page(signal, *, job_id, error_class, **details):
...     alert(f"{signal}: job {job_id}, {error_class}")

Each is a line of the logger ``pgaudit.worker`` too, its details in ``extra`` and ready for JSON: ``action``, which is
the signal's name, and what is listed below. Neither holds anything of the event, nor an error's
message, which may quote it: ``pgaudit jobs show`` has that.

A receiver is called in the worker's event loop, in the worker's process: it hands what takes time to a thread.
"""

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Final, TypeVar

from blinker import ANY, NamedSignal

logger = logging.getLogger("pgaudit.worker")

R = TypeVar("R", bound=Callable[..., Any])


class WorkerSignal(NamedSignal):
    """A signal of blinker's whose sender is its own name: ``receiver(name, **details)``."""

    def __init__(self, name: str, level: int, line: str) -> None:
        super().__init__(name)
        self._level = level
        self._line = line

    def connect(self, receiver: R, sender: Any = ANY, weak: bool = False) -> R:  # noqa: FBT001, FBT002 - as blinker has it
        """Connects a receiver, once however often it is called; also a decorator.

        :param weak: forget it when nothing else holds it. Elsewhere blinker does so unless told otherwise.
        :raises TypeError: the receiver is asynchronous: it would not be awaited.
        """
        if iscoroutinefunction(receiver) or iscoroutinefunction(type(receiver).__call__):
            raise TypeError(f"{receiver!r} is asynchronous: connect a function that makes a task of it")
        return super().connect(receiver, sender, weak)

    def send(self, _sender: Any = None, /, **details: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Logs the signal and calls the receivers. A receiver that raises is logged, and the others are called."""
        logger.log(self._level, self._line, details, extra={"action": self.name, **details})
        receivers = () if self.is_muted else self.receivers_for(self.name)
        return [(receiver, self._tell(receiver, details)) for receiver in receivers]

    def _tell(self, receiver: Callable[..., Any], details: dict[str, Any]) -> Any:
        try:
            return receiver(self.name, **details)
        except Exception:
            extra = {"action": "receiver_failed", "signal": self.name}
            logger.exception("a receiver of %s raised, the worker goes on: %r", self.name, receiver, extra=extra)


job_completed: Final = WorkerSignal("job_completed", logging.DEBUG, "%(count)d job(s) completed")
"""A batch is in the log: ``count`` of its jobs, ``worker_id``. Logged at DEBUG, for there may be many a second."""

job_retried: Final = WorkerSignal(
    "job_retried",
    logging.WARNING,
    "job %(job_id)d runs again in %(retry_in).1f s: %(error_class)s, SQLSTATE %(sqlstate)s",
)
"""An attempt failed, another follows: ``job_id``, ``error_class``, ``sqlstate``, ``attempt``, ``retry_in`` seconds."""

job_failed: Final = WorkerSignal(
    "job_failed",
    logging.ERROR,
    "job %(job_id)d failed for good: %(error_class)s, SQLSTATE %(sqlstate)s; see `pgaudit jobs show %(job_id)d`",
)
"""A job stays until someone retries it: ``job_id``, ``error_class`` (JobStalled: too many stalls), ``sqlstate``."""

job_stalled: Final = WorkerSignal(
    "job_stalled", logging.WARNING, "job %(job_id)d was taken from worker %(worker_id)s, stall %(stalls)d"
)
"""The worker of a job has stalled: ``job_id``, ``worker_id``, ``stalls`` so far, ``failed`` if that ended the job."""

sealing_refused: Final = WorkerSignal("sealing_refused", logging.ERROR, "the log is not sealed: %(reason)s")
"""Nothing is signed from now on: ``reason``, a sentence, and ``kind``: ``rolled_back``, ``damaged`` or ``key``."""

verification_failed: Final = WorkerSignal(
    "verification_failed", logging.ERROR, "the log does not verify, so it is not signed: %(reason)s"
)
"""The log is not what was sealed: ``count`` of findings, ``finding``, the name of the first, ``reason``, a sentence."""

unrecorded_change: Final = WorkerSignal(
    "unrecorded_change",
    logging.WARNING,
    "%(count)d row(s) of %(table)s changed without an event: %(operation)s by %(role)s, transaction %(transaction)s",
)
"""A guard has let a change pass: ``table``, ``operation``, ``count``, ``targets``, the first five, ``transaction``,
``role``, ``application``. Each is sent once, by one of the workers, within a minute."""

worker_started: Final = WorkerSignal("worker_started", logging.INFO, "worker %(worker_id)d started")
"""A worker is registered, and takes jobs: ``worker_id``. Sent again when a pruned worker registers under a new id."""

worker_stopped: Final = WorkerSignal("worker_stopped", logging.INFO, "worker %(worker_id)d stopped")
"""A worker takes no more jobs; a drain may follow: ``worker_id``."""

stream_failing: Final = WorkerSignal(
    "stream_failing", logging.WARNING, "the stream %(stream)s fails, next attempt in %(retry_in).1f s: %(reason)s"
)
"""A destination did not take a chunk, after one that it took: ``stream``, ``reason``, ``retry_in`` seconds."""

stream_paused: Final = WorkerSignal(
    "stream_paused", logging.ERROR, "the stream or processor %(stream)s is paused: %(reason)s"
)
"""Nothing is sent until someone resumes it: ``stream``, ``reason``, and ``kind``: ``refused``, ``failing`` for
days, or ``mismatch`` with the log."""

events_parked: Final = WorkerSignal(
    "events_parked", logging.WARNING, "%(count)d event(s) of the stream %(stream)s are parked, from index %(index)d on"
)
"""A destination has refused events for good: ``stream``, ``count``, and the ``index`` of the first."""

processor_job_retried: Final = WorkerSignal(
    "processor_job_retried",
    logging.WARNING,
    "job %(job_id)d of the processor %(processor)s runs again in %(retry_in).1f s: %(error_class)s",
)
"""An attempt of a processor did not succeed, another follows: ``processor``, ``job_id``, ``error_class``, ``attempt``,
``retry_in`` seconds. Like all signals of processors, it is sent in another thread than those of the audit queue."""

processor_job_failed: Final = WorkerSignal(
    "processor_job_failed",
    logging.ERROR,
    "job %(job_id)d of the processor %(processor)s failed for good: %(error_class)s; "
    "see `pgaudit jobs show %(job_id)d --processor %(processor)s`",
)
"""A job of a processor stays until someone retries or discards it: ``processor``, ``job_id``, ``error_class``."""
