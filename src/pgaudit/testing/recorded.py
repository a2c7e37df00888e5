"""What the code under test recorded, in memory."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Unpack

from pgaudit.events import AuditEvent
from pgaudit.recording.capture import capture_into
from pgaudit.testing import asserts
from pgaudit.testing.expectation import Expected


class RecordedEvents(list[AuditEvent]):
    """The events in the order in which they were recorded, with what was bound; rolled back or not."""

    def assert_recorded(self, *, times: int | None = 1, **expected: Unpack[Expected]) -> list[AuditEvent]:
        """As :func:`pgaudit.testing.assert_recorded`."""
        __tracebackhide__ = True
        return asserts.assert_recorded(self, times=times, **expected)

    def assert_nothing_recorded(self, **expected: Unpack[Expected]) -> None:
        """As :func:`pgaudit.testing.assert_nothing_recorded`."""
        __tracebackhide__ = True
        asserts.assert_nothing_recorded(self, **expected)


@contextmanager
def recording() -> Generator[RecordedEvents]:
    """Keeps what every AuditLog of this process records inside, instead of sending it; in every mode.

    >>> with recording() as events:
    ...     approve(claim=7)

    Events are checked as they always are. The connection is not looked at: it may be anything but an event.
    """
    events = RecordedEvents()
    with capture_into(events):
        yield events
