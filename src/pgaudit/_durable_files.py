"""Files that survive a crash: their content, and their names in a directory."""

import os
from pathlib import Path
from typing import IO, Any


def fsync_file(file: IO[Any]) -> None:
    """Waits until the content of a file would survive a loss of power."""
    file.flush()
    os.fsync(file.fileno())


def fsync_directory(directory: Path) -> None:
    """Waits until what was created, renamed or removed in a directory would survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, temporary: Path, mode: int = 0o666) -> None:
    """Writes a file under a temporary name and moves it to its place: after a crash it is whole, or not there.

    The caller has to call ``fsync_directory``.

    :param temporary: a path on the same file system, which is overwritten.
    :param mode: the permissions of the file, from which the umask is taken off.
    """
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        fsync_file(file)
    temporary.replace(path)
