"""An export as bytes, without a connection: portions of events go in, and pieces of the file come out."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Protocol

from pgaudit.trail.export.csv_ import CsvEncoder
from pgaudit.trail.export.ndjson import NdjsonEncoder
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.portions import Portion
from pgaudit.trail.export.rows import Row


class Encoder(Protocol):
    """A format: what a file begins with, its events, what it ends with."""

    def begin(self) -> bytes:
        """Returns the beginning of the file."""
        ...

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Returns the next part of the file, with these events; a format may keep some back until there are more."""
        ...

    def end(self) -> bytes:
        """Returns the end of the file."""
        ...


def encoder_of(plan: Plan) -> Encoder:
    """Returns the encoder of the plan's format.

    :raises MissingExtra: the format is Parquet, and pyarrow is not installed.
    """
    match plan.format:
        case "ndjson":
            return NdjsonEncoder()
        case "csv":
            return CsvEncoder(plan.columns, bom=plan.bom)
        case "parquet":
            from pgaudit.trail.export.parquet import ParquetEncoder  # noqa: PLC0415 - its package is an extra

            return ParquetEncoder(plan.columns)


class Stream:
    """The bytes of an export, and what it has so far: ``count`` events, the first and last index, ``bytes``.

    ``position`` is the index below which everything is in it.
    """

    def __init__(self, plan: Plan, encoder: Encoder | None = None) -> None:
        self.plan = plan
        self.position = 0
        self.count = 0
        self.first_index: int | None = None
        self.last_index: int | None = None
        self.last_hash: bytes | None = None
        self.bytes = 0
        self._encoder = encoder or encoder_of(plan)
        self._hash = hashlib.sha256()

    @property
    def is_finished(self) -> bool:
        """Whether all events are in it."""
        return self.position >= self.plan.size

    @property
    def sha256(self) -> str:
        """The hash of all bytes so far, in hexadecimal."""
        return self._hash.hexdigest()

    def begin(self) -> bytes:
        """Returns the beginning of the file."""
        return self.add(self._encoder.begin())

    def encode(self, portion: Portion[Row]) -> bytes:
        """Returns the next bytes of the file."""
        if portion.rows:
            self.first_index = portion.rows[0].index if self.first_index is None else self.first_index
            self.last_index, self.last_hash = portion.rows[-1].index, portion.rows[-1].leaf_hash
        self.count += len(portion.rows)
        self.position = portion.position
        return self.add(self._encoder.encode(portion.rows))

    def end(self) -> bytes:
        """Returns the end of the file."""
        return self.add(self._encoder.end())

    def add(self, data: bytes) -> bytes:
        """Counts bytes of the file, and returns them."""
        self.bytes += len(data)
        self._hash.update(data)
        return data


def chunks(stream: Stream, read: Callable[[int], Portion[Row]]) -> Iterator[bytes]:
    """Yields the file piece by piece, for a response or a pipe.

    :param read: returns the portion at an index. It is called when the piece before has been taken, so that it needs a
        connection for the time of one look only.
    """
    yield stream.begin()
    while not stream.is_finished:
        yield stream.encode(read(stream.position))
    yield stream.end()


async def chunks_async(stream: Stream, read: Callable[[int], Awaitable[Portion[Row]]]) -> AsyncIterator[bytes]:
    """``chunks`` for a coroutine that reads."""
    yield stream.begin()
    while not stream.is_finished:
        yield stream.encode(await read(stream.position))
    yield stream.end()
