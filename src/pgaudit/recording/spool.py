"""Events that the database refused, in files until it takes them."""

import fcntl
import json
import os
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pgaudit.errors import SpoolUnreadable


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event that waits, and the transaction whose change it belongs to; None when there was none."""

    event: dict[str, Any]
    xid: str | None

    def to_line(self) -> str:
        return json.dumps({"xid": self.xid, "event": self.event}, ensure_ascii=False) + "\n"


def append(directory: Path, documents: Sequence[str], xid: str | None) -> Path:
    """Appends events, as JSON, to this process's file, fsyncs it, and returns its path."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{socket.gethostname()}-{os.getpid()}.ndjson"
    with open_locked(path, create=True) as file:
        end = truncate_partial_line(file)
        try:
            file.writelines(Spooled(json.loads(document), xid).to_line() for document in documents)
            fsync_file(file)
        except BaseException:
            os.ftruncate(file.fileno(), end)
            raise
    fsync_directory(directory)
    return path


def truncate_partial_line(file: TextIO) -> int:
    """Goes to the end of the file and cuts off a partial line that a crash has left. Returns the offset in bytes.

    The process that wrote it has died before it could commit the change.
    """
    content = file.buffer.read()
    end = content.rfind(b"\n") + 1
    os.ftruncate(file.fileno(), end)
    file.seek(end)
    return end


@contextmanager
def open_locked(path: Path, *, create: bool = False) -> Generator[TextIO]:
    """Opens a file and locks it against appends and replays of all processes on this machine."""
    while True:
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        with os.fdopen(os.open(path, flags, 0o600), "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_same_file(file, path):
                yield file
                return
            # A replay has put a new file in its place while we waited for the lock.


def is_same_file(file: TextIO, path: Path) -> bool:
    """Returns whether the path still leads to this file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def fsync_file(file: TextIO) -> None:
    """Waits until the file's content would survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def fsync_directory(directory: Path) -> None:
    """Waits until what was created or renamed in a directory would be found there after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(file: TextIO, path: Path) -> list[Spooled]:
    """Returns the entries of the file.

    :raises SpoolUnreadable: a line is no spooled event. Nothing is skipped in silence.
    """
    entries: list[Spooled] = []
    for number, line in enumerate(file.buffer, start=1):
        try:
            entry = json.loads(line)
            entries.append(Spooled(event=dict(entry["event"]), xid=entry.get("xid")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpoolUnreadable(
                f"{path}:{number} is no spooled event ({error}); mend or move the line, then replay again",
            ) from error
    return entries


def replace(path: Path, entries: Sequence[Spooled]) -> None:
    """Replaces the entries of the file: after a crash it holds all of the old ones or all of the new ones."""
    successor = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(successor, flags, 0o600), "w", encoding="utf-8") as file:
        file.writelines(entry.to_line() for entry in entries)
        fsync_file(file)
    successor.replace(path)
    fsync_directory(path.parent)


def files(directory: Path) -> list[Path]:
    """Returns the files of a spool, the oldest first."""
    found: list[tuple[float, Path]] = []
    for path in directory.glob("*.ndjson"):
        with suppress(FileNotFoundError):  # a replay has removed it meanwhile
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


def count(directory: Path) -> int:
    """Returns the number of events in a spool."""
    total = 0
    for path in files(directory):
        with suppress(FileNotFoundError):
            total += path.read_bytes().count(b"\n")
    return total


def remove_if_empty(path: Path) -> None:
    """Removes a file that nothing was appended to meanwhile."""
    with open_locked(path) as file:
        if not file.read(1):
            path.unlink()
