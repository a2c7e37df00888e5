"""The response of a receiver over HTTP, and what it means for the events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.printable import excerpt

SUCCESS: Final = range(200, 300)
REDIRECT: Final = range(300, 400)
UNAUTHORIZED: Final = frozenset({401, 403})
UNACCEPTABLE: Final = frozenset({400, 413, 422})
LONGEST_WAIT: Final = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    :ivar headers: by their names in lower case.
    :ivar body: the first 64 KiB.
    :ivar excerpt: the beginning of the body as printable characters, without our secrets.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    excerpt: str

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return self.status in SUCCESS

    @property
    def retry_after(self) -> float | None:
        """The seconds that the header ``Retry-After`` asks to wait, at most a day; None without the header."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch("[0-9]{1,12}", text):
            return min(float(text), LONGEST_WAIT)
        try:
            seconds = (as_utc(parsedate_to_datetime(text)) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_WAIT)

    def __str__(self) -> str:
        """Returns the status and an excerpt, for an error."""
        if self.status in REDIRECT:
            return f"it answers {meaning(self.status)}: redirects are not followed, so the stream needs the new URL"
        said = f": {self.excerpt}" if self.excerpt else ""
        return f"it answers {meaning(self.status)}{said}"

    def require_success(self) -> None:
        """Raises unless the status is 2xx.

        :raises DestinationRefused: we are not allowed to send: 401 or 403.
        :raises EventsRefused: it will not accept these events: 400, 413 or 422.
        :raises DeliveryFailed: anything else, after which the same events may be accepted.
        """
        if self.status in UNAUTHORIZED:
            raise DestinationRefused(str(self))
        if self.status in UNACCEPTABLE:
            raise EventsRefused(str(self))
        if not self.is_success:
            raise self.failure()

    def failure(self) -> DeliveryFailed:
        """Returns the error that the events were not accepted now."""
        return DeliveryFailed(str(self), retry_after=self.retry_after)


def as_utc(moment: datetime) -> datetime:
    """Returns a moment in UTC. One without a zone, which is how Python reads -0000, is in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def meaning(status: int) -> str:
    """Returns a status with its name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def masked_excerpt(body: bytes, secrets: tuple[str, ...]) -> str:
    """Returns the beginning of a text as one line of printable characters, with ``***`` for each of our secrets."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "***")
    return excerpt(text)
