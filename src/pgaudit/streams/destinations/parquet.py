"""``parquet:DIRECTORY``: a file for each hour (UTC) in which events were appended to the log, with typed columns.

A file is ``date=2026-11-27/hour=08/FIRST-LAST.parquet``, named for its first and last index; an hour of more than
20,000 events has several. The hour is that of ``persisted_at``, the only time that never decreases along the log while
nobody sets back the server's clock: so an hour that is over is complete.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pgaudit._durable_files import fsync_directory, replace_file
from pgaudit.streams.destinations.batching import BatchingDestination, is_set_back
from pgaudit.streams.destinations.deduplication import missing
from pgaudit.streams.destinations.destination import Limits
from pgaudit.streams.destinations.directory import Directory
from pgaudit.streams.outcomes import DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry
from pgaudit.trail.export.parquet import ParquetEncoder, pa, pq

HOUR: Final = timedelta(hours=1)
GRACE: Final = timedelta(seconds=30)  # between the stamp of a batch and its commit
NAME: Final = re.compile(r"([0-9]{16})-([0-9]{16})(?:-[0-9]+)?\.parquet")
NOTE: Final = {"kind": "parquet"}


def open_destination(request: Request) -> "ParquetFiles":
    """Returns the files of a stream."""
    return ParquetFiles(request)


class ParquetFiles(BatchingDestination):
    """Writes whole files: each one is complete as soon as it has its name."""

    limits = Limits(events=20_000, bytes=32_000_000)

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._directory = Directory(request)
        self._path = self._directory.path

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:
        """Returns the number of events in the first hour, once it is over or there are enough for a file."""
        hour = hour_of(entries[0])
        count = next((n for n, entry in enumerate(entries) if hour_of(entry) != hour), len(entries))
        over = hour + HOUR + GRACE
        if is_full or count < len(entries) or now >= over or is_set_back(entries[0].persisted_at, now):
            return self.release(count)
        return self.wait(entries, over)

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Writes the events that are not there yet, and waits until the disk has them."""
        size = 0
        with self._directory.locked() as noted:
            if noted is None:
                self._directory.note(NOTE)
            elif noted != NOTE:
                raise DestinationRefused(f"{self._path} has files of another kind: choose another directory")
            held = dict(self._held(entries[0].index, entries[-1].index))
            rest = missing(entries, held, str(self._path), self._request)
            if rest:
                size = self._write(rest)
        return Receipt(size)

    def check(self) -> None:
        """Checks that files can be written."""
        self._directory.check()

    def _held(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yields index and hash of the events in files that overlap this range."""
        for path in sorted(self._path.rglob("*.parquet")):
            found = NAME.fullmatch(path.name)
            if found and int(found[1]) <= last and int(found[2]) >= first:
                for row in rows_of(path):
                    if first <= row["index"] <= last:
                        yield row["index"], row["leaf_hash"].hex()

    def _write(self, entries: Sequence[Entry]) -> int:
        """Writes a file beside its place, and moves it there. Returns its size."""
        encoder = ParquetEncoder()
        content = encoder.begin() + encoder.encode(entries) + encoder.end()
        hour = hour_of(entries[0])
        directory = self._path / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}"
        directory.mkdir(parents=True, exist_ok=True)
        name = free_name(directory, entries[0].index, entries[-1].index)
        replace_file(name, content, self._path / "new.parquet.tmp", 0o640)
        for changed in (directory, directory.parent, self._path):
            fsync_directory(changed)
        return len(content)


def hour_of(entry: Entry) -> datetime:
    """Returns the beginning of the hour in which an event was appended to the log."""
    return entry.persisted_at.replace(minute=0, second=0, microsecond=0)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Returns index and hash of the events in a file.

    :raises DestinationRefused: it is damaged.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=["index", "leaf_hash"], partitioning=None).to_pylist()
    except pa.ArrowException as error:
        raise DestinationRefused(f"{path} cannot be read ({type(error).__name__}): move it away") from None
    return rows


def free_name(directory: Path, first: int, last: int) -> Path:
    """Returns the name of a file that does not exist: after a restore, other events may have the same indexes."""
    names = (f"{first:016d}-{last:016d}{suffix}.parquet" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for path in (directory / name for name in names) if not path.exists())
