"""What a receiver answers over HTTP, and what that means for the events."""

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
    """The answer to a request.

    :ivar headers: by their names in small letters.
    :ivar body: the beginning of it; what is longer than the client reads is cut off.
    :ivar excerpt: the beginning as printable characters, without our secrets.
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
        """The seconds to wait that it asks for, a day at most; None if it does not ask."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch("[0-9]{1,12}", text):
            return min(float(text), LONGEST_WAIT)
        try:
            seconds = (as_utc(parsedate_to_datetime(text)) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_WAIT)

    def __str__(self) -> str:
        """Returns what is answered, for an error."""
        if self.status in REDIRECT:
            return f"it answers {meaning(self.status)}: redirects are not followed, so the stream needs the new URL"
        said = f": {self.excerpt}" if self.excerpt else ""
        return f"it answers {meaning(self.status)}{said}"

    def require_success(self) -> None:
        """Returns if the status is 2xx.

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
        """Returns that the events were not accepted now."""
        return DeliveryFailed(str(self), retry_after=self.retry_after)


def as_utc(moment: datetime) -> datetime:
    """Returns a moment in UTC; of one without a zone, as -0000 is read, that is the zone."""
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
