"""The files of a pack while it is unfinished; then it gets its name as a whole, as a directory or as a zip file."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pgaudit._durable_files import fsync_file
from pgaudit.errors import ExportRefused

ZIP: Final = ".zip"
DATE: Final = (1980, 1, 1, 0, 0, 0)  # of each file in a zip file: the same content is the same bytes
UNIX: Final = 3
MODE: Final = 0o100644 << 16


class Staging:
    """An unfinished pack, beside the finished one. ``hashes`` has the SHA-256 of the files so far.

    :param replace: an unfinished pack, and a zip file, may be replaced.
    :raises ExportRefused: something is in the way.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self.directory = path.with_name(f"{path.name}.partial")
        self.hashes: dict[str, str] = {}
        self.check(replace=replace)
        if replace and self.directory.is_dir():
            shutil.rmtree(self.directory)
        try:
            self.directory.mkdir(0o700)
        except FileExistsError:
            raise ExportRefused(
                f"{self.directory} exists: another process writes it, or was killed; begin again with --force"
            ) from None

    def check(self, *, replace: bool) -> None:
        """Checks that the finished pack may have its name: a directory is never replaced."""
        if self.path.is_dir() or (self.path.exists() and self.path.suffix != ZIP):
            raise ExportRefused(f"{self.path} exists: name another directory, or a zip file")
        if self.path.exists() and not replace:
            raise ExportRefused(f"{self.path} exists: name another file, or replace it with --force")

    def write(self, name: str, data: bytes) -> None:
        """Writes a file."""
        with self.open(name) as file:
            file.write(data)
        self.hashes[name] = sha256(data).hexdigest()

    def open(self, name: str) -> BinaryIO:
        """Opens a new file, which its owner alone can read; the caller adds its hash."""
        path = self.directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def publish(self) -> Path:
        """Gives the pack its name. Returns its path."""
        if self.path.suffix != ZIP:
            self.directory.rename(self.path)
            return self.path
        with self.unfinished_zip() as path:
            zip_files(self.directory, path)
            path.replace(self.path)
        self.remove()
        return self.path

    @contextmanager
    def unfinished_zip(self) -> Generator[Path]:
        """Yields the path of the zip file before it has its name; what is left there is removed."""
        path = self.path.with_name(f"{self.path.name}.new")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the unfinished pack, if there is one."""
        if self.directory.exists():
            shutil.rmtree(self.directory)


def zip_files(directory: Path, target: Path) -> None:
    """Writes the files of a directory into a zip file, in the order of their names, without dates and owners."""
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        with ZipFile(file, "w") as archive:
            for name in names:
                add_file(archive, name, directory / name)
        fsync_file(file)


def add_file(archive: ZipFile, name: str, path: Path) -> None:
    """Adds a file of any size, a piece at a time."""
    info = ZipInfo(name, DATE)
    info.compress_type, info.create_system, info.external_attr = ZIP_DEFLATED, UNIX, MODE
    info.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target)
