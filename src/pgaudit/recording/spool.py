"""The spool: events that the database refused, in files of a directory until it takes them.

A process appends to a file of its own, ``HOST-PID.ndjson``, one JSON object a line: ``event``; ``spooled_at``; and
which transaction of which cluster made the change: ``xid``, ``cluster``, ``timeline``, null when there was none.
Beside it, ``HOST-PID.refused`` keeps the lines that a replay could not record.
"""

import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, cast

from pgaudit._durable_files import fsync_directory
from pgaudit.errors import SpoolFull
from pgaudit.recording import _spool_file
from pgaudit.recording._spool_file import check_directory, open_locked

REFUSED: Final = ".refused"
SAMPLE_BYTES: Final = 1024 * 1024
NO_MAXIMUM: Final = 2**63


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction that made a change: its id, the cluster's system identifier, and its timeline in hexadecimal."""

    xid: str
    cluster: str
    timeline: str


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event that waits, and the transaction whose change it belongs to; None when there was none."""

    event: dict[str, Any]
    origin: Origin | None
    spooled_at: str

    def to_line(self) -> bytes:
        """Returns the line of the file, with its end."""
        origin = asdict(self.origin) if self.origin else {"xid": None, "cluster": None, "timeline": None}
        line = {"spooled_at": self.spooled_at, **origin, "event": self.event}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Returns what a line holds.

        :raises ValueError: the line is not a spooled event.
        """
        found = json.loads(line)
        entry = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if not isinstance(entry.get("event"), dict):
            raise ValueError("it is not a JSON object with an event")  # noqa: TRY004 - one error for whatever is wrong
        origin = [str(entry.get(name)) for name in ("xid", "cluster", "timeline")]
        return cls(entry["event"], Origin(*origin) if entry.get("xid") else None, str(entry.get("spooled_at")))


def append(directory: Path, documents: Sequence[str], origin: Origin | None, max_bytes: int = NO_MAXIMUM) -> Path:
    """Appends events, as JSON, to this process's file, syncs it to disk, and returns its path.

    :raises SpoolFull: the spool would hold more than ``max_bytes``; nothing was written.
    :raises SpoolRefused: another user could change the spool; nothing was written.
    """
    _spool_file.ensure_directory(directory)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    lines = [Spooled(json.loads(document), origin, now).to_line() for document in documents]
    if (size := sum(map(len, lines)) + size_of(directory)) > max_bytes:
        raise SpoolFull(
            f"{directory} would hold {size:,} bytes, {max_bytes:,} are allowed (PGAUDIT_SPOOL_MAX_BYTES): "
            "let a worker replay it, or `pgaudit replay`"
        )
    path = directory / f"{socket.gethostname()}-{os.getpid()}.ndjson"
    with open_locked(path, create=True) as file:
        _spool_file.append_lines(file, lines)
    fsync_directory(directory)
    return path


def set_aside(path: Path, lines: list[bytes]) -> Path:
    """Appends lines that cannot be recorded to a file beside, and returns its path."""
    refused = path.with_suffix(REFUSED)
    with open_locked(refused, create=True) as file:
        _spool_file.append_lines(file, lines)
    fsync_directory(path.parent)
    return refused


def files(directory: Path | None) -> list[Path]:
    """Returns the files that wait to be replayed, the oldest first."""
    found: list[tuple[float, Path]] = []
    for path in directory.glob("*.ndjson") if directory else ():
        with suppress(FileNotFoundError):  # a replay has removed it meanwhile
            found.append((path.lstat().st_mtime, path))
    return [path for _, path in sorted(found)]


def size_of(directory: Path) -> int:
    """Returns the size of a spool in bytes, with the lines that were set aside."""
    total = 0
    for path in (*directory.glob("*.ndjson"), *directory.glob(f"*{REFUSED}")):
        with suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


def count(directory: Path | None) -> int:
    """Returns the number of events that wait in a spool; of files above 1 MB an estimate, from their first megabyte.

    :raises SpoolRefused: another user could change the spool.
    """
    if directory is None or not directory.exists():
        return 0
    check_directory(directory)
    total = 0
    for path in files(directory):
        with suppress(FileNotFoundError), path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
            total += round(sample.count(b"\n") * os.fstat(file.fileno()).st_size / max(len(sample), 1))
    return total


def count_refused(directory: Path | None) -> int:
    """Returns how many files hold lines that could not be recorded."""
    return len(list(directory.glob(f"*{REFUSED}"))) if directory else 0


def oldest(directory: Path | None) -> datetime | None:
    """Returns when the oldest event that waits was spooled; None when none waits."""
    times: list[datetime] = []
    for path in files(directory):
        with suppress(FileNotFoundError, ValueError), path.open("rb") as file:
            times.append(datetime.fromisoformat(Spooled.from_line(file.readline()).spooled_at))
    return min(times, default=None)


def remove_if_empty(path: Path) -> None:
    """Removes a file that nothing was appended to meanwhile."""
    with open_locked(path) as file:
        if not file.read(1):
            path.unlink()
