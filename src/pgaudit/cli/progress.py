"""A progress line on a terminal."""

import os
import sys
import time
from typing import Final

EVERY: Final = 0.2  # seconds between two lines
WIDTH: Final = 80  # columns of a terminal that does not know its size
SOON: Final = 2.0  # seconds until there is an estimate


class Progress:
    """Shows on standard error how much of a range is done and how long the rest may take; nothing if it is no terminal.

    :param start: the start of the range; a continued export has done what is before it.
    :param end: the end of the range; 0 if only each position says so.
    """

    def __init__(self, start: int = 0, end: int = 0, *, quiet: bool) -> None:
        self._is_shown = sys.stderr.isatty() and not quiet
        self._start, self._end = start, end
        self._began = self._shown = time.monotonic()

    def show(self, position: int, more: str, end: int | None = None) -> None:
        """Shows the position, at most five times a second."""
        now = time.monotonic()
        if self._is_shown and now - self._shown >= EVERY:
            self._shown = now
            self._write(line(self._start, position, self._end if end is None else end, now - self._began, more))

    def clear(self) -> None:
        """Removes the line."""
        if self._is_shown:
            self._write("")

    def _write(self, text: str) -> None:
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH) - 1
        sys.stderr.write(f"\r{text[:width].ljust(width)}\r")
        sys.stderr.flush()


def line(start: int, position: int, end: int, elapsed: float, more: str) -> str:
    """Returns the line for a position.

    >>> line(0, 250, 1_000, 30.0, "1,234 events")
    '25 %, about 2 min left, 1,234 events'
    """
    share = f"{100 * position // max(1, end)} %"
    done = position - start
    if elapsed < SOON or done <= 0:
        return f"{share}, {more}"
    return f"{share}, about {duration(elapsed * (end - position) / done)} left, {more}"


def duration(seconds: float) -> str:
    """Returns a duration in the unit that suits it.

    >>> duration(59), duration(100), duration(9_000)
    ('59 s', '2 min', '2.5 h')
    """
    minute, hour = 60, 3_600
    if seconds < minute:
        return f"{seconds:.0f} s"
    return f"{seconds / minute:.0f} min" if seconds < hour else f"{seconds / hour:.1f} h"
