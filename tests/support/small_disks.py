"""A real file system that is full after a few kilobytes; needs the rights of root, as containers have them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(path: Path, kilobytes: int = 64) -> Iterator[Path]:
    """Mounts a disk of that size at a new directory, and unmounts it at the end."""
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "small_disk", str(path))
    try:
        yield path
    finally:
        run("umount", str(path))


def make_read_only(path: Path, *, read_only: bool) -> None:
    """Lets nobody write to the disk, or everyone again."""
    run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(path))


def run(*command: str) -> None:
    """Runs a command of the system."""
    subprocess.run(command, check=True, capture_output=True)
