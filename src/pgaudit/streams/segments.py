"""Segments: files of events whose names have their range and hash, so that they can be verified without the database.

``FIRST-LAST-SHA256.ndjson.gz`` has the events from that index to that one; the hash is that of the file. Each line is
``{"index": …, "leaf_hash": "…", "persisted_at": "…", "event": TEXT}``, and the leaf hash covers TEXT, byte for byte.
``checkpoints/SIZE.checkpoint`` has the signed root over the first SIZE events.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pgaudit.sealing.tree import leaf_hash
from pgaudit.streams.forms import native
from pgaudit.trail.entry import Entry

NAME: Final = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9a-f]{64})\.ndjson\.gz")
CHECKPOINT: Final = re.compile(r"checkpoints/([0-9]{20})\.checkpoint")
LINE: Final = re.compile(
    rb'\{"index": ([0-9]{1,20}), "leaf_hash": "([0-9a-f]{64})", "persisted_at": "[^"]{1,40}", "event": (\{.*\})\}'
)
LEVEL: Final = 6  # of gzip
LARGEST: Final = 2**28  # bytes of a segment without compression


@dataclass(frozen=True, slots=True)
class Segment:
    """What the name of a segment says."""

    first: int
    last: int
    sha256: str

    @property
    def name(self) -> str:
        """The name: those of a log are in the order of its events."""
        return f"{self.first:020d}-{self.last:020d}-{self.sha256}.ndjson.gz"

    @classmethod
    def parse(cls, name: str) -> "Segment | None":
        """Returns what a name says; None if it is no segment's."""
        found = NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2]), found[3]) if found else None

    def is_name_of(self, content: bytes) -> bool:
        """Returns whether the content has the hash of the name."""
        return sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a segment: the hash that the line has, and the one that its text has."""

    index: int
    stated: str
    computed: bytes

    @property
    def is_intact(self) -> bool:
        """Whether the line has the hash of its text."""
        return self.computed.hex() == self.stated


def packed(entries: Sequence[Entry]) -> tuple[Segment, bytes]:
    """Returns events as a segment, and its name."""
    lines = "".join(native.text(entry) + "\n" for entry in entries)
    content = gzip.compress(lines.encode(), LEVEL, mtime=0)
    return Segment(entries[0].index, entries[-1].index, sha256(content).hexdigest()), content


def unpacked(content: bytes) -> Iterator[Line]:
    """Yields the events of a segment.

    :raises ValueError: it is no segment, or a damaged one.
    """
    try:
        text = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be decompressed: {type(error).__name__}") from None
    if len(text) > LARGEST or not text.endswith(b"\n"):
        raise ValueError("it is too large, or its last line is not complete")
    for number, line in enumerate(text[:-1].split(b"\n"), start=1):
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"line {number} is not an event")
        yield Line(int(found[1]), found[2].decode(), leaf_hash(found[3]))


def checkpoint_name(size: int) -> str:
    """Returns the name of the checkpoint of that size."""
    return f"checkpoints/{size:020d}.checkpoint"
