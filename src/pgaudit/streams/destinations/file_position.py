"""The position in the newest file of a directory, as ``position.json`` has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.trail.entry import Entry


@dataclass(frozen=True, slots=True)
class FilePosition:
    """How far the newest file is.

    :ivar run: when the stream was added or last rewound: its events are appended to files of the same time only.
    :ivar size: the bytes that were noted as written.
    :ivar first_index: of the last chunk; None if the file has none yet.
    """

    run: str
    file: str
    day: str
    size: int = 0
    first_index: int | None = None
    last_index: int = -1
    last_hash: str = ""


def is_last(entry: Entry, last: FilePosition) -> bool:
    """Returns whether that is the event that was written last."""
    return (entry.index, entry.leaf_hash.hex()) == (last.last_index, last.last_hash)


def parse_position(noted: dict[str, Any], path: Path) -> FilePosition:
    """Returns how far the newest file is.

    :raises DestinationRefused: the note is another kind's.
    """
    try:
        return FilePosition(**noted)
    except TypeError:
        raise DestinationRefused(f"{path} has files of another kind: choose another directory") from None
