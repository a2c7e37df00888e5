"""Keeps the application log short: limits repeated warnings, and leaves out Procrastinate's lines for each batch."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pgaudit.jobs.listing import QUEUE

FIRST_INTERVAL_SECONDS: Final = 1.0
MAX_INTERVAL_SECONDS: Final = 300.0
MIN_MEMORY_SECONDS: Final = 60.0  # longer than a heartbeat interval, so that a warning per heartbeat is a repetition
LOGGERS: Final = ("pgaudit.worker",)
PROCRASTINATE: Final = ("procrastinate.worker", "procrastinate.worker.worker")  # the module, and a worker by its name
KINDS: Final = 100  # warnings that are remembered at the same time


@dataclass(slots=True)
class Repetition:
    """A warning that was written, and those like it that were not."""

    written_at: float
    interval: float
    left_out: int = 0


class RepetitionFilter(logging.Filter):
    """Lets a warning with the same text pass at once, then after a second, two, four … and at most five minutes.

    A line that passes says how many were left out before it. After twice its interval, and a minute, without a
    repetition, a warning starts again at one second. Errors and levels below a warning always pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, Repetition] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now, text = time.monotonic(), without_numbers(record.getMessage())
        seen = self._seen.get(text)
        if seen is None or now - seen.written_at > max(2 * seen.interval, MIN_MEMORY_SECONDS):
            self._remember(text, Repetition(now, FIRST_INTERVAL_SECONDS))
            return True
        if now - seen.written_at < seen.interval:
            seen.left_out += 1
            return False
        if seen.left_out:
            record.msg, record.args = f"{record.getMessage()} ({seen.left_out} more like it since)", None
        self._remember(text, Repetition(now, min(2 * seen.interval, MAX_INTERVAL_SECONDS)))
        return True

    def _remember(self, text: str, repetition: Repetition) -> None:
        """Keeps the newest kinds of warnings."""
        self._seen.pop(text, None)
        self._seen[text] = repetition
        if len(self._seen) > KINDS:
            del self._seen[next(iter(self._seen))]


@contextmanager
def quiet_log() -> Generator[None]:
    """Keeps the log of an application readable inside the block.

    Repeated warnings are logged at growing intervals. Procrastinate's INFO lines about pgaudit's jobs, two for each
    batch, are left out; its lines about the application's jobs stay.
    """
    repetitions = RepetitionFilter()
    for name in PROCRASTINATE:
        logging.getLogger(name).addFilter(is_not_of_a_batch)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(repetitions)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(repetitions)
        for name in PROCRASTINATE:
            logging.getLogger(name).removeFilter(is_not_of_a_batch)


def is_not_of_a_batch(record: logging.LogRecord) -> bool:
    """Returns whether to keep a line of Procrastinate: all but INFO lines about a job of pgaudit's queue."""
    queue = record.__dict__.get("job", {}).get("queue")
    return record.levelno != logging.INFO or queue != QUEUE


def without_numbers(text: str) -> str:
    """Returns the text without its digits: warnings that differ only in a delay or a job's id are repetitions."""
    return "".join(character for character in text if not character.isdigit())
