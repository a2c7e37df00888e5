"""What the code under test recorded, in memory."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, Unpack

import pytest

from pgaudit.events import AuditEvent
from pgaudit.recorder import AuditLog
from pgaudit.statements import Statement
from pgaudit.testing import asserts
from pgaudit.testing.expectation import Expected

# Every way to record goes through it, those too that somebody took hold of before: ``record = audit.record``.
DOOR: Final = "_prepare"


class RecordedEvents(list[AuditEvent]):
    """The events in the order in which they were recorded, with what was bound; rolled back or not."""

    def assert_recorded(self, *, times: int | None = 1, **expected: Unpack[Expected]) -> list[AuditEvent]:
        """As :func:`pgaudit.testing.assert_recorded`."""
        __tracebackhide__ = True
        return asserts.assert_recorded(self, times=times, **expected)

    def assert_nothing_recorded(self) -> None:
        """As :func:`pgaudit.testing.assert_nothing_recorded`."""
        __tracebackhide__ = True
        asserts.assert_nothing_recorded(self)


@contextmanager
def recording() -> Generator[RecordedEvents]:
    """Keeps what every AuditLog of this process records inside, instead of sending it; in every mode.

    >>> with recording() as events:
    ...     approve(claim=7)

    Events are checked as they always are. The connection is not looked at: it may be anything but an event.
    """
    events = RecordedEvents()
    check = getattr(AuditLog, DOOR)

    def keep(audit: AuditLog, given: Sequence[AuditEvent]) -> tuple[tuple[AuditEvent, ...], Statement | None]:
        checked, _ = check(audit, given)
        events.extend(checked)
        return checked, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AuditLog, DOOR, keep)
        yield events
