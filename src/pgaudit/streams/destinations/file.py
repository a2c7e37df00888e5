"""``file:DIRECTORY?rotate_bytes=…&gzip=true``: files with an event on each line, which is there once.

A file is named for its first event. The next one begins when it has reached its size, and each day (UTC); then it is
compressed, if asked. ``position.json`` says how many bytes of the newest file were noted as written, and with which
event they end: what a crash has left behind them is overwritten, and a chunk that comes again is recognized.
"""

import gzip
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.directory import Directory
from pgaudit.streams.destinations.file_position import FilePosition, is_last, parse_position
from pgaudit.streams.forms import writer_of
from pgaudit.streams.outcomes import DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

DEFAULT_ROTATE_BYTES: Final = 100_000_000
LEVEL: Final = 6  # of gzip: 9 takes three times as long for one or two percent


def open_destination(request: Request) -> "Files":
    """Returns the files of a stream."""
    return Files(request)


class Files(BaseDestination):
    """Appends events to the newest file of a directory."""

    limits = Limits(events=5_000, bytes=16_000_000)
    takes_all = True

    def __init__(self, request: Request) -> None:
        self._directory = Directory(request)
        self._path = self._directory.path
        self._write = writer_of(request.form)
        self._rotate_bytes = request.url.number("rotate_bytes", DEFAULT_ROTATE_BYTES)
        self._compress = request.url.flag("gzip")

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Appends the events, and waits until the disk has them."""
        with self._directory.locked() as noted:
            written = None if noted is None else parse_position(noted, self._path)
            known = self._count_written(written, entries)
            rest = entries[known:]
            lines = "".join(self._write(entry) + "\n" for entry in rest).encode()
            if rest:
                place = written if written and (known or self._takes_more(written)) else self._new_file(written, rest)
                self._append(place, lines)
                first = place.first_index if known else rest[0].index
                self._note(replace(
                    place, size=place.size + len(lines), first_index=first, last_index=rest[-1].index,
                    last_hash=rest[-1].leaf_hash.hex(),
                ))  # fmt: skip
        return Receipt(len(lines))

    def check(self) -> None:
        """Checks that files can be written."""
        self._directory.check()

    def _count_written(self, last: FilePosition | None, entries: Sequence[Entry]) -> int:
        """Returns how many events, from the first on, were written by a worker that died before it noted them.

        :raises DestinationRefused: the directory has other events with their indexes.
        """
        if last is None or (last.run != self._directory.run and not self._directory.continued):
            return 0
        first = entries[0].index
        if last.run == self._directory.run and first > last.last_index:
            return 0
        repeated = [entry.index <= last.last_index for entry in entries].count(True)
        ending = entries[repeated - 1] if repeated else None
        if last.run != self._directory.run or first != last.first_index or ending is None or not is_last(ending, last):
            self._directory.refuse_ahead(last.last_index, first)
        return repeated if (self._path / last.file).exists() else 0

    def _takes_more(self, last: FilePosition) -> bool:
        """Returns whether more events are appended to the last file."""
        today = datetime.now(UTC).date().isoformat()
        is_ours = last.run == self._directory.run and (self._path / last.file).exists()
        return is_ours and last.day == today and last.size < self._rotate_bytes

    def _new_file(self, last: FilePosition | None, entries: Sequence[Entry]) -> FilePosition:
        """Ends the last file, and notes the next one before it is created: so a crash leaves no unknown file."""
        if last:
            self._finish(last)
        run, today = self._directory.run, datetime.now(UTC).date().isoformat()
        new = FilePosition(run, self._name(entries[0].index), today)
        if last and last.run == run:
            new = replace(new, last_index=last.last_index, last_hash=last.last_hash)
        self._note(new)
        return new

    def _name(self, index: int) -> str:
        """Returns the name of a file that does not exist: a range may be written again."""
        names = (f"{index:016d}{suffix}.ndjson" for suffix in ("", *(f"-{number}" for number in range(2, 10_000))))
        return next(n for n in names if not (self._path / n).exists() and not (self._path / f"{n}.gz").exists())

    def _append(self, place: FilePosition, lines: bytes) -> None:
        """Writes after the noted bytes, over what a crash may have left there."""
        descriptor = os.open(self._path / place.file, os.O_WRONLY | os.O_CREAT, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            if os.fstat(descriptor).st_size < place.size:
                raise DestinationRefused(
                    f"{self._path / place.file} is shorter than what was written: move it away to go on in a new one"
                )
            file.seek(place.size)
            file.write(lines)
            file.truncate()
            fsync_file(file)

    def _note(self, written: FilePosition) -> None:
        self._directory.note(asdict(written))

    def _finish(self, last: FilePosition) -> None:
        """Removes what a crash has left in the file that is complete, and compresses it, if asked."""
        path = self._path / last.file
        if not path.exists():
            return
        if path.stat().st_size > last.size:
            os.truncate(path, last.size)
        if not last.size:
            path.unlink()
        elif self._compress:
            compress(path)
            fsync_directory(self._path)
            path.unlink()


def compress(path: Path) -> None:
    """Writes a compressed copy beside a file."""
    temporary = Path(f"{path}.gz.new")
    with path.open("rb") as plain, temporary.open("wb") as file:
        with gzip.GzipFile(path.name, "wb", LEVEL, file, mtime=0) as packed:
            shutil.copyfileobj(plain, packed)
        fsync_file(file)
    temporary.replace(f"{path}.gz")
