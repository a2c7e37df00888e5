"""``https://TOKEN@HOST/PATH``: an endpoint of HTTP, such as the log collector of another team.

A checkpoint is sent by POST, as ``text/plain``; each status of success (2xx) means that it was taken. An endpoint that
answers GET with all notes, one after the other, can be compared with the log.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pgaudit._anchor_urls import AnchorURL
from pgaudit.errors import InvalidNote
from pgaudit.sealing.anchors.anchor import Proof, own_note
from pgaudit.sealing.anchors.transport import reading, send
from pgaudit.sealing.notes import DASH, Note

CONTENT_TYPE: Final = "text/plain; charset=utf-8"
LONGEST_LINE: Final = 8_192  # bytes; a signature of ML-DSA-44 has 3.3 kB
MOST_LINES: Final = 200  # of one note


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that takes notes."""

    name: str
    url: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def of(cls, url: AnchorURL) -> "Endpoint":
        """Returns the anchor of a URL."""
        return cls(url.name, url.location, url.token)

    def submit(self, note: Note, proof: Proof, last: int) -> None:  # noqa: ARG002 - it stores, and proves nothing
        """Sends a checkpoint.

        :raises AnchorFailed: the answer is not one of success. A redirect is not.
        """
        send(self.url, self.token, str(own_note(note)).encode(), CONTENT_TYPE).require_success()

    def read(self) -> Iterator[Note]:
        """Yields the notes that GET returns, in its order."""
        with reading(self.url, self.token) as response:
            yield from notes_in(iter(lambda: response.readline(LONGEST_LINE), b""))


def notes_in(lines: Iterable[bytes]) -> Iterator[Note]:
    """Yields the notes of a text in which they follow one another.

    :raises InvalidNote: it has something else.
    """
    note = list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace")
        if note and note[-1].startswith(DASH) and not line.startswith(DASH):
            yield Note.parse("".join(note))
            note = []
        note.append(line)
        if len(note) > MOST_LINES:
            raise InvalidNote(f"not a list of notes: one of more than {MOST_LINES} lines")
    if note:
        yield Note.parse("".join(note))
