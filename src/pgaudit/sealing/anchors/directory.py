"""``file:/DIRECTORY``: one file for each checkpoint, which is never overwritten.

It is worth something where the owner of the database cannot write: on another machine, on a file system that only
appends (``chattr +a``), or on write-once storage.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgaudit._anchor_urls import AnchorURL
from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.errors import AnchorFailed, InvalidNote
from pgaudit.sealing.anchors.anchor import Proof, own_note, size_of
from pgaudit.sealing.notes import Note

SUFFIX: Final = ".checkpoint"
NAME: Final = "{:020d}" + SUFFIX


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory with checkpoints."""

    name: str
    path: Path

    @classmethod
    def of(cls, url: AnchorURL) -> "Directory":
        """Returns the anchor of a URL."""
        return cls(url.name, Path(url.location))

    def submit(self, note: Note, proof: Proof, last: int) -> None:  # noqa: ARG002 - it stores, and proves nothing
        """Writes the file of a checkpoint, durably.

        :raises AnchorFailed: it cannot be written, or there is another checkpoint of that size.
        """
        text, file = str(own_note(note)), self.path / NAME.format(size_of(note))
        try:
            write_once(file, text)
        except OSError as error:
            raise AnchorFailed(f"cannot write {file}: {error.strerror}") from None

    def read(self) -> Iterator[Note]:
        """Yields the checkpoints. Files that are empty have lost their content in a crash, and hold nothing."""
        try:
            for file in sorted(file for file in self.path.iterdir() if file.suffix == SUFFIX):
                if text := content_of(file):
                    yield parsed(file, text)
        except OSError as error:
            raise AnchorFailed(f"cannot read {error.filename}: {error.strerror}") from None


def content_of(file: Path) -> str:
    """Returns the text of a file; what is not UTF-8 is replaced, so that it is no part of any note."""
    return file.read_bytes().decode("utf-8", "replace")


def parsed(file: Path, text: str) -> Note:
    """Returns the note of a file.

    :raises InvalidNote: the file has none, or one of another size.
    """
    try:
        note = Note.parse(text)
        size = size_of(note)
    except InvalidNote as error:
        raise InvalidNote(f"{file} has no checkpoint: {error}") from None
    if file.name != NAME.format(size):
        raise InvalidNote(f"{file} has a checkpoint of {size:,} events")
    return note


def write_once(file: Path, text: str) -> None:
    """Creates a file with that content. One that a crash has cut short gets the rest.

    :raises AnchorFailed: there is a file with other content.
    :raises OSError: it cannot be written.
    """
    try:
        written, descriptor = "", os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    except FileExistsError:
        written, descriptor = content_of(file), os.open(file, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(descriptor, "a", encoding="utf-8", newline="") as open_file:
        if not text.startswith(written):
            raise AnchorFailed(f"{file} has another checkpoint: the log was forked, or two logs share the directory")
        open_file.write(text.removeprefix(written))
        fsync_file(open_file)
    fsync_directory(file.parent)
