"""What a processor gets: an event of the log, and the number of the attempt."""

from dataclasses import dataclass, fields
from typing import Final, Self

from pgaudit.trail.entry import Entry

OF_ENTRY: Final = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True)
class ProcessorEntry(Entry):
    """One event in the log, with its ``index`` and its ``event``, for a processor.

    :ivar processor: the processor's name.
    :ivar attempt: 1 for the first attempt, 2 for the second …
    """

    processor: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt at this event, and in no other: for systems that can reject a repetition."""
        return f"{self.processor}:{self.event_id}"

    @classmethod
    def of(cls, entry: Entry, processor: str, attempt: int) -> Self:
        """Returns the entry for an attempt of a processor."""
        return cls(**{name: getattr(entry, name) for name in OF_ENTRY}, processor=processor, attempt=attempt)
