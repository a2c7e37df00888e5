"""``report+URL?at=06:00&zone=Europe/Berlin``: a report of each day, sent to the destination of the URL."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pgaudit.streams.destinations.destination import BaseDestination
from pgaudit.streams.destinations.report_document import render_report
from pgaudit.streams.destinations.report_senders import ReportSender, open_report_sender
from pgaudit.streams.destinations.report_summary import Day, Summary
from pgaudit.streams.outcomes import DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

DEFAULT_AT: Final = "06:00"
GRACE: Final = timedelta(minutes=1)  # for a batch of the day that is appended at its end


def open_destination(request: Request) -> "DailyReport":
    """Returns what sends the reports of a stream.

    :raises DeliveryFailed: a secret is not there; or, DestinationRefused, the URL cannot be used.
    """
    url = request.url
    at = time.fromisoformat(url.option("at", DEFAULT_AT))
    return DailyReport(open_report_sender(request), at, url.option("zone", "UTC"))


class DailyReport(BaseDestination):
    """Sends a report about each day on which something happened, on the next day."""

    def __init__(self, sender: ReportSender, at: time, zone: str) -> None:
        self._sender = sender
        self._at = at
        self._zone = zone
        self._until: datetime | None = None

    def day_of(self, moment: datetime) -> Day:
        """Returns the day of a moment in the zone; one with 23 or 25 hours too."""
        zone = ZoneInfo(self._zone)
        today = moment.astimezone(zone).date()
        tomorrow = today + timedelta(days=1)
        start, end = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (today, tomorrow))
        due = datetime.combine(tomorrow, self._at, zone).astimezone(UTC)
        return Day(today, self._zone, start, end, max(due, end + GRACE))

    def is_waiting(self, log_size: int, now: datetime) -> bool:  # noqa: ARG002 - see Destination
        """Returns whether the next report is not due yet."""
        return self._until is not None and now < self._until

    def wait(self, until: datetime) -> None:
        """Waits until a moment: the log is not read before."""
        self._until = until

    def report(self, summary: Summary) -> Receipt:
        """Sends the report of a day."""
        return Receipt(self._sender.send(render_report(summary)))

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Refuses single events, which a replay sends.

        :raises DestinationRefused: always.
        """
        raise DestinationRefused(
            "a report is about a day, so single events cannot be replayed: to send reports again from the day of index "
            f"{entries[0].index} on, use pgaudit stream rewind"
        )

    def check(self) -> None:
        """Checks, without sending anything, that a report could be sent."""
        self._sender.check()

    def close(self) -> None:
        """Closes connections."""
        self._sender.close()
