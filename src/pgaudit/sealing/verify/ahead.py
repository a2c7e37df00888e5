"""Reads what the events of a log hash to, some portions ahead, on as many connections as there are.

Of a sample, only the events of the chosen tiles are read.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit._driver import fetch
from pgaudit.sealing.tiles import WIDTH

Connection = psycopg.Connection[Any]
Sample = frozenset[int] | None  # numbers of tiles; None for all of them

PORTION: Final = 64 * WIDTH  # events of one statement
COMPUTED: Final = "SELECT * FROM pgaudit.recomputed_hashes(%(first)s, %(end)s, %(careful)s)"


@dataclass(frozen=True, slots=True)
class Computed:
    """The events of one tile: how many there are, their leaf hashes, and how many differ from hash or columns."""

    number: int
    events: int
    hashes: bytes
    altered: int
    drifted: int


def computed(conn: Connection, portion: range) -> list[Computed]:
    """Returns what the events of a range hash to. Values that are no times are met only after tampering."""
    given = {"first": portion.start, "end": portion.stop}
    try:
        return fetch(conn, class_row(Computed), COMPUTED, {**given, "careful": False})
    except psycopg.DataError:
        return fetch(conn, class_row(Computed), COMPUTED, {**given, "careful": True})


def computed_of(conn: Connection, portion: range, sample: Sample) -> list[Computed]:
    """Returns what those events of a range hash to that belong to the sample."""
    if sample is None:
        return computed(conn, portion)
    chosen = (number * WIDTH for number in tiles_of(portion) if number in sample)
    return [each for first in chosen for each in computed(conn, range(first, min(first + WIDTH, portion.stop)))]


def tiles_of(portion: range) -> range:
    """Returns the numbers of the tiles that the events of a portion belong to."""
    return range(portion.start // WIDTH, -(-portion.stop // WIDTH))


def portions(first: int, end: int) -> Iterator[range]:
    """Yields the portions of a range of the log."""
    for start in range(first, end, PORTION):
        yield range(start, min(start + PORTION, end))


def read_ahead(
    conn: Connection, helpers: Sequence[Connection], first: int, end: int, sample: Sample = None
) -> Iterator[tuple[range, list[Computed]]]:
    """Yields each portion with its hashes; further connections compute the next ones meanwhile."""
    if not helpers:
        yield from ((portion, computed_of(conn, portion, sample)) for portion in portions(first, end))
        return
    running: deque[tuple[range, Future[list[Computed]]]] = deque()
    free: SimpleQueue[Connection] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def compute(portion: range) -> list[Computed]:
        helper = free.get()
        try:
            return computed_of(helper, portion, sample)
        finally:
            free.put(helper)

    with ThreadPoolExecutor(len(helpers)) as pool:
        for portion in portions(first, end):
            running.append((portion, pool.submit(compute, portion)))
            if len(running) > 2 * len(helpers):
                done, future = running.popleft()
                yield done, future.result()
        while running:
            done, future = running.popleft()
            yield done, future.result()
