"""What an export writes of an event: the event itself, or a masked copy of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

from pgaudit._exact_json import to_json
from pgaudit.trail.entry import Entry


class Row(Protocol):
    """What an encoder needs to know of an event. An ``Entry`` is one."""

    @property
    def index(self) -> int:
        """Its place in the log."""
        ...

    @property
    def occurred_at(self) -> datetime:
        """When it happened."""
        ...

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded."""
        ...

    @property
    def persisted_at(self) -> datetime:
        """When it was appended."""
        ...

    @property
    def conflicts_with(self) -> int | None:
        """The index of another event of the same id."""
        ...

    @property
    def leaf_hash(self) -> bytes | None:
        """The hash of its text; None if that is not the stored text."""
        ...

    @property
    def text(self) -> str:
        """The event as JSON, on one line."""
        ...


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """An event with masked values. It has no leaf hash, because a hash confirms a guess."""

    index: int
    occurred_at: datetime
    recorded_at: datetime
    persisted_at: datetime
    conflicts_with: int | None
    text: str
    leaf_hash: None = None

    @classmethod
    def of(cls, entry: Entry, event: Mapping[str, Any]) -> Self:
        """Returns the row of an entry.

        :param event: the event as it may be seen, made from ``entry.exact_event()``: that has all digits.
        """
        text = to_json(event)
        return cls(entry.index, entry.occurred_at, entry.recorded_at, entry.persisted_at, entry.conflicts_with, text)
