"""The files of a WAL directory: which stretches of the WAL they hold, and which are missing between them."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from pgaudit.errors import WalUnreadable

NAME: Final = re.compile(r"[0-9A-F]{24}")
LSN: Final = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.IGNORECASE)
# The header of a file's first page: magic, flags, timeline, address, remaining bytes; system, size of a segment.
HEADER: Final = struct.Struct("=HHIQIxxxxQI")
LONG_HEADER: Final = 0x0002
HIGH: Final = 1 << 32


def lsn(text: str) -> int:
    """Returns a position in the WAL as a number.

    >>> lsn("1/A0")
    4294967456

    :raises ValueError: it is none.
    """
    found = LSN.fullmatch(text)
    if not found:
        raise ValueError(f"{text} is not a position in the WAL, such as 16/B374D848")
    return int(found[1], 16) * HIGH + int(found[2], 16)


def as_text(position: int) -> str:
    """Returns a position in the WAL as Postgres writes it.

    >>> as_text(4294967456)
    '1/000000A0'
    """
    return f"{position // HIGH:X}/{position % HIGH:08X}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the WAL, and the position at which it starts."""

    path: Path
    timeline: int
    start: int
    size: int
    system: str

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.start + self.size

    def name_at(self, position: int) -> str:
        """Returns the name of the file of the same timeline that has a position."""
        number, each = position // self.size, HIGH // self.size
        return f"{self.timeline:08X}{number // each:08X}{number % each:08X}"

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Returns the segment in a file; None if the file was recycled: it has the name of a segment to come.

        :raises WalUnreadable: it is not a file of the WAL.
        """
        with path.open("rb") as file:
            header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            raise WalUnreadable(f"{path} is shorter than the header of a WAL file: copy it again")
        _magic, flags, _timeline, address, _rest, system, size = HEADER.unpack(header)
        timeline, high, low = (int(path.name[at : at + 8], 16) for at in (0, 8, 16))
        if not flags & LONG_HEADER or size == 0 or HIGH % size:
            return None  # never written
        start = (high * (HIGH // size) + low) * size
        return cls(path, timeline, start, size, str(system)) if address == start else None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Adjacent segments: a part of the WAL without a gap."""

    segments: tuple[Segment, ...]

    @property
    def start(self) -> int:
        """Where it starts."""
        return self.segments[0].start

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.segments[-1].end


def segments_in(directory: Path, timeline: int | None = None) -> list[Segment]:
    """Returns the segments of a timeline, the newest one unless it is named, in order.

    :raises WalUnreadable: there are none, or they are of several servers.
    """
    names = sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    found = [segment for path in names if (segment := Segment.read(path))]
    wanted = timeline or max((segment.timeline for segment in found), default=0)
    chosen = [segment for segment in found if segment.timeline == wanted]
    if not chosen:
        raise WalUnreadable(
            f"{directory} has no WAL file{f' of timeline {timeline}' if timeline else ''}: name the directory of the "
            "archive, or pg_wal; decompress files that the archive compresses"
        )
    if len({(segment.system, segment.size) for segment in chosen}) > 1:
        raise WalUnreadable(f"{directory} has WAL files of several servers: give each server a directory of its own")
    return chosen


def stretches(segments: list[Segment], start: int, end: int | None) -> Iterator[Stretch]:
    """Yields the stretches without a gap that the segments between two positions make."""
    wanted = [each for each in segments if each.end > start and (end is None or each.start < end)]
    run = wanted[:1]
    for before, after in pairwise(wanted):
        if before.end != after.start:
            yield Stretch(tuple(run))
            run = []
        run.append(after)
    if run:
        yield Stretch(tuple(run))


def position(given: str, segments: list[Segment], *, is_end: bool = False) -> int:
    """Returns the position that a user names: an LSN, or a WAL file, at its start or its end.

    :raises WalUnreadable: it is neither.
    """
    name = Path(given).name
    for segment in segments:
        if segment.path.name == name:
            return segment.end if is_end else segment.start
    try:
        return lsn(given)
    except ValueError:
        raise WalUnreadable(
            f"{given} is neither a position in the WAL, such as 16/B374D848, nor a WAL file there"
        ) from None
