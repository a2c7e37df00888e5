"""Files in a directory: an event in each line, on the disk when a chunk is done, and there once.

A file is named for its first event. The next one begins when it has reached its size, and each day (UTC); then it is
compressed, if asked. ``position.json`` has what was written last: after a crash, a chunk that is sent again replaces
itself.
"""

import gzip
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pgaudit.streams.destinations.destination import Limits, Prompt
from pgaudit.streams.forms import writer_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

DEFAULT_ROTATE_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """What was written last: the file, its size before and after the chunk, and the chunk's first and last event."""

    file: str
    day: str
    before: int
    size: int
    first_index: int
    last_index: int
    last_hash: str


def open_destination(request: Request) -> "Directory":
    """Returns the directory of a stream.

    :raises DestinationRefused: it cannot be made, or its position cannot be read.
    """
    path = Path(request.url.path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        position = path / "position.json"
        last = Written(**json.loads(position.read_text())) if position.exists() else None
    except (OSError, ValueError, TypeError) as error:
        raise DestinationRefused(f"{path} cannot be used: {error}") from None
    return Directory(request, path, last)


class Directory(Prompt):
    """Appends events to the newest file of a directory."""

    limits = Limits(events=5_000, bytes=16_000_000)

    def __init__(self, request: Request, path: Path, last: Written | None) -> None:
        self._path = path
        self._write = writer_of(request.form)
        self._rotate_bytes = request.url.number("rotate_bytes", DEFAULT_ROTATE_BYTES)
        self._compress = request.url.flag("gzip")
        self._continued = request.continued
        self._last = last

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Appends the events, and waits until the disk has them."""
        lines = "".join(self._write(entry) + "\n" for entry in entries).encode()
        try:
            start = self._start(entries)
            self._append(start, lines)
            self._note(replace(start, size=start.before + len(lines)))
        except OSError as error:
            raise DeliveryFailed(f"{self._path} cannot be written: {error.strerror or error}") from None
        return Receipt(len(lines))

    def _start(self, entries: Sequence[Entry]) -> Written:
        """Returns where the chunk begins: at the end of the newest file, where it began before, or in a new file."""
        last, today = self._last, datetime.now(UTC).date().isoformat()
        first, final = entries[0], entries[-1]
        fresh = Written(self._name(first.index), today, 0, 0, first.index, final.index, final.leaf_hash.hex())
        if last is None:
            return fresh
        if first.index == last.first_index and self._holds(last, entries):
            return replace(fresh, file=last.file, day=last.day, before=last.before)
        if first.index <= last.last_index:
            self._refuse_mismatch(last)
        elif last.day == today and last.size < self._rotate_bytes:
            return replace(fresh, file=last.file, before=last.size)
        self._finish(last)
        return fresh

    def _holds(self, last: Written, entries: Sequence[Entry]) -> bool:
        """Returns whether the chunk has the last event that was written: it is the same chunk, or a longer one."""
        return any(e.index == last.last_index and e.leaf_hash.hex() == last.last_hash for e in entries)

    def _refuse_mismatch(self, last: Written) -> None:
        """Raises DestinationRefused unless the stream was set back on purpose."""
        if self._continued:
            raise DestinationRefused(
                f"{self._path} has the events up to index {last.last_index} already: was the database restored from "
                "an older backup? Set the stream back with pgaudit stream rewind to write the events again"
            )

    def _name(self, index: int) -> str:
        """Returns the name of a file that does not exist: a range may be written again."""
        names = (f"{index:016d}{suffix}.ndjson" for suffix in ("", *(f"-{number}" for number in range(2, 10_000))))
        return next(n for n in names if not (self._path / n).exists() and not (self._path / f"{n}.gz").exists())

    def _append(self, start: Written, lines: bytes) -> None:
        with (self._path / start.file).open("ab") as file:
            file.truncate(start.before)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _note(self, written: Written) -> None:
        """Stores what was written, in one step."""
        temporary = self._path / "position.json.new"
        with temporary.open("w") as file:
            file.write(json.dumps(asdict(written)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path / "position.json")
        directory = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._last = written

    def _finish(self, last: Written) -> None:
        """Compresses the file that is complete, if asked."""
        path = self._path / last.file
        if self._compress and path.exists():
            with path.open("rb") as plain, gzip.open(f"{path}.gz.new", "wb") as packed:
                shutil.copyfileobj(plain, packed)
            Path(f"{path}.gz.new").replace(f"{path}.gz")
            path.unlink()
