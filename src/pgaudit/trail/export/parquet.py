"""Parquet by pyarrow: typed columns, and the exact text of each event."""

import io
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final

from pgaudit.errors import MissingExtra
from pgaudit.trail.export import columns
from pgaudit.trail.export.rows import Row

try:
    pa: Any = import_module("pyarrow")  # it ships no types
    pq: Any = import_module("pyarrow.parquet")
except ModuleNotFoundError as error:
    raise MissingExtra('Parquet needs pyarrow: pip install "pgaudit[parquet]"') from error

# A row group has at most so many events and about so many bytes of text: it is in memory until it is complete, in
# batches that Arrow keeps, because Python's objects take several times as much.
GROUP_ROWS: Final = 10_000
GROUP_BYTES: Final = 16 * 2**20
BATCH_ROWS: Final = 500
TIME: Final[Any] = pa.timestamp("us", tz="UTC")
TYPES: Final[dict[str, Any]] = {
    "index": pa.int64(),
    "occurred_at": TIME,
    "recorded_at": TIME,
    "persisted_at": TIME,
    "conflicts_with": pa.int64(),
    "leaf_hash": pa.binary(),
}
TEXT: Final = "event"


def schema_of(paths: Sequence[str]) -> Any:
    """Returns the columns and their types."""
    return pa.schema([(name, TYPES.get(name, pa.string())) for name in (*columns.NAMES, *paths, TEXT)])


class ParquetEncoder:
    """Writes row groups of a bounded size. What it writes depends on the events alone, not on how they are handed in.

    :param paths: further columns, such as data.amount, as text.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = paths
        self._schema = schema_of(paths)
        self._sink = Sink()
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._batch: list[dict[str, Any]] = []
        self._rows = self._bytes = 0

    def begin(self) -> bytes:
        """Returns the beginning of the file."""
        return self._sink.taken()

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Returns the row groups that are complete with these events."""
        for row in rows:
            self._batch.append(self._cells(row))
            self._rows += 1
            self._bytes += len(row.text)
            if len(self._batch) >= BATCH_ROWS:
                self._end_batch()
            if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
                self._write_group()
        return self._sink.taken()

    def end(self) -> bytes:
        """Returns the last row group, and the footer."""
        if self._rows:
            self._write_group()
        self._writer.close()
        return self._sink.taken()

    def _end_batch(self) -> None:
        self._batches.append(pa.RecordBatch.from_pylist(self._batch, self._schema))
        self._batch = []

    def _write_group(self) -> None:
        self._end_batch()
        self._writer.write_table(pa.Table.from_batches(self._batches), row_group_size=GROUP_ROWS)
        self._batches, self._rows, self._bytes = [], 0, 0

    def _cells(self, row: Row) -> dict[str, Any]:
        in_log = {name: getattr(row, name) for name in columns.IN_LOG}
        return {**columns.values(row, self._paths), **in_log, TEXT: row.text}


class Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        written = bytes(data)
        self._bytes += written
        self._position += len(written)
        return len(written)

    def taken(self) -> bytes:
        """Returns what was written since it was asked last."""
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken
