"""The files of a pack, read from a directory or a zip file."""

from collections.abc import Generator
from contextlib import contextmanager
from errno import EINVAL
from hashlib import file_digest
from pathlib import Path
from typing import IO, Self
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - its own name says nothing

from pgaudit.errors import PackAltered, PackUnreadable

DAMAGED = (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError)  # what zipfile raises


class Source:
    """The files of a pack. ``used`` has the names of those that were read.

    :raises PackUnreadable: there is no pack at that path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: set[str] = set()
        try:
            self._zip = None if path.is_dir() else ZipFile(path)
        except (OSError, *DAMAGED) as error:
            raise PackUnreadable(f"{path} is neither a directory nor a zip file: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip:
            self._zip.close()

    def names(self) -> set[str]:
        """Returns the paths of all files.

        :raises PackAltered: two have the same.
        """
        if self._zip is None:
            return {each.relative_to(self.path).as_posix() for each in self.path.rglob("*") if not each.is_dir()}
        names = self._zip.namelist()
        if len(set(names)) < len(names):
            raise PackAltered("two files of the pack have the same name")
        return set(names)

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """Yields a file.

        :raises PackAltered: it is missing or damaged.
        """
        self.used.add(name)
        try:
            with self._zip.open(name) if self._zip else (self.path / name).open("rb") as file:
                yield file
        except (KeyError, FileNotFoundError, IsADirectoryError):
            raise PackAltered(f"{name}: this file is missing") from None
        except DAMAGED as error:
            raise PackAltered(f"{name}: the zip file is damaged: {error}") from None
        except OSError as error:
            if error.errno != EINVAL:  # a damaged directory of the zip file leads before its beginning
                raise
            raise PackAltered(f"{name}: the zip file is damaged: {error}") from None

    def read(self, name: str) -> bytes:
        """Returns the content of a file."""
        with self.open(name) as file:
            return file.read()

    def text(self, name: str) -> str:
        """Returns the content of a file of text.

        :raises PackAltered: it is not UTF-8.
        """
        try:
            return self.read(name).decode()
        except UnicodeDecodeError:
            raise PackAltered(f"{name}: not a text in UTF-8") from None

    def sha256(self, name: str) -> str:
        """Returns the hash of a file, which is not counted as used."""
        was_used = name in self.used
        with self.open(name) as file:
            digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # a file of a zip has no buffer
        if not was_used:
            self.used.discard(name)
        return digest
