"""Files of a spool: opened, locked and replaced so that neither a crash nor another user can change what they hold."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.errors import SpoolRefused

BLOCK: Final = 65_536
NO_LOCKS: Final = (
    "a spool needs the file locks and file owners of POSIX, which this system, such as Windows, does not have: keep "
    "PGAUDIT_ON_FAILURE=raise, and PGAUDIT_SPOOL_DIR unset"
)


def require_locks() -> None:
    """Raises SpoolRefused on a system without the file locks and file owners of POSIX."""
    if not hasattr(os, "geteuid"):
        raise SpoolRefused(NO_LOCKS)


def ensure_directory(directory: Path) -> None:
    """Makes the directory, with its parents, if it is missing.

    :raises SpoolRefused: another user owns it or can write to it, or it is a symbolic link.
    """
    require_locks()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_directory(directory)


def check_directory(directory: Path) -> None:
    """Raises SpoolRefused when another user could put events into the directory."""
    require_locks()
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        problem = "is not a directory (a symbolic link is not followed)"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid}, not to user {os.geteuid()} that runs this process"
    elif found.st_mode & 0o022:
        problem = f"can be written to by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700 closes it"
    else:
        return
    raise SpoolRefused(
        f"{directory} {problem}; PGAUDIT_SPOOL_DIR has to be a directory for it alone, which pgaudit creates"
    )


@contextmanager
def open_locked(path: Path, *, create: bool = False) -> Generator[BinaryIO]:
    """Opens a file and locks it against appends and replays of all processes on this machine.

    :raises SpoolRefused: the path is a symbolic link.
    """
    import fcntl  # noqa: PLC0415 - not on Windows

    while True:
        with os.fdopen(_open(path, os.O_RDWR | (os.O_CREAT if create else 0)), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_same_file(file, path):
                yield file
                return
            # A replay has put a new file in its place while this one waited for the lock.


def _open(path: Path, flags: int) -> int:
    """Opens a file that only this user may read; never through a symbolic link."""
    if path.is_symlink():
        raise SpoolRefused(f"{path} is a symbolic link, which is not followed: remove it")
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    """Returns whether the path still leads to this file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def go_to_end(file: BinaryIO) -> int:
    """Goes behind the last whole line, cuts off what a crash has left there, and returns the offset in bytes.

    The process that wrote the rest has ended before it could commit the change. Reads backwards: a large file costs the
    same.
    """
    end = size = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file.fileno(), end)
    return file.seek(end)


def append_lines(file: BinaryIO, lines: list[bytes]) -> None:
    """Appends lines and waits until they would survive a power cut; all of them or none."""
    end = go_to_end(file)
    try:
        file.writelines(lines)
        fsync_file(file)
    except BaseException:
        os.ftruncate(file.fileno(), end)
        raise


def replace_lines(path: Path, lines: list[bytes]) -> None:
    """Replaces the lines of a locked file: after a crash it holds all of the old ones or all of the new ones."""
    successor = path.with_suffix(".new")
    successor.unlink(missing_ok=True)  # of a replay that was killed
    with os.fdopen(_open(successor, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.writelines(lines)
        fsync_file(file)
    successor.replace(path)
    fsync_directory(path.parent)
