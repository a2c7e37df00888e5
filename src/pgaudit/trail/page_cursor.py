"""Cursors: where a page begins, as text that a link or a program can carry."""

import re
from dataclasses import dataclass
from typing import Final, Literal, Self

from pgaudit.errors import InvalidQuery
from pgaudit.trail.spans import ALL

CURSOR: Final = re.compile(r"(before|after)-(-1|0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The events before an index, the newest of them first; or those after it, the oldest of them first."""

    side: Literal["before", "after"]
    index: int

    def __str__(self) -> str:
        return f"{self.side}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the cursor of a text.

        :raises InvalidQuery: it is not one.
        """
        found = CURSOR.fullmatch(text)
        if found is None or int(found[2]) >= ALL.stop:
            raise InvalidQuery(f"{text!r} is not a cursor: pass `next` or `previous` of a page as it is")
        return cls("before" if found[1] == "before" else "after", int(found[2]))

    @property
    def span(self) -> range:
        """The part of the log that the cursor leaves."""
        return range(self.index) if self.side == "before" else range(self.index + 1, ALL.stop)


NEWEST: Final = Cursor("before", ALL.stop)
