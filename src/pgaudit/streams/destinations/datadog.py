"""Datadog's logs API, within its limits of size, count and age.

Events that are too old are skipped, which the history of deliveries shows; those that are too long are parked. Datadog
would accept both, and drop or truncate them without an error. It has no idempotency key: after a lost response, events
may be there twice, with the same ``index``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.http_client import Client, open_client, read_token
from pgaudit.streams.forms import form_of
from pgaudit.streams.outcomes import DeliveryFailed, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

OLDEST: Final = timedelta(hours=18)
MARGIN: Final = timedelta(minutes=5)  # for the request, and clocks that differ
LONGEST_LOG: Final = 1_000_000  # bytes, before compression
LARGEST_REQUEST: Final = 5_000_000
MOST_LOGS: Final = 1_000
STATUS: Final = {"success": "info", "denied": "warn", "failure": "error"}


@dataclass(frozen=True, slots=True)
class Log:
    """An event as Datadog gets it."""

    position: int  # in the chunk
    json: bytes


def open_destination(request: Request) -> "Datadog":
    """Returns the destination of a stream.

    :raises DestinationRefused: the key is missing, or the URL cannot be used.
    """
    key = read_token(request.url, "api_key")
    return Datadog(request, open_client(request, [key]), key)


class Datadog(BaseDestination):
    """Datadog's intake for logs."""

    limits = Limits(events=MOST_LOGS, bytes=3_000_000)

    def __init__(self, request: Request, client: Client, key: str) -> None:
        url = request.url
        self._client = client
        self._form = form_of(request.form)
        self._path = f"{url.path.rstrip('/')}/api/v2/logs"
        self._headers = {"DD-API-KEY": key}
        source, service, tags = url.option("source", "pgaudit"), url.option("service", "pgaudit"), url.option("tags")
        self._attributes = {"ddsource": source, "service": service, **({"ddtags": tags} if tags else {})}

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends events, as many in a request as Datadog takes."""
        earliest = datetime.now(UTC) - OLDEST + MARGIN
        skipped = {
            e.index: "older than 18 hours, which Datadog leaves out" for e in entries if e.occurred_at < earliest
        }
        logs = [Log(n, self._log(entry)) for n, entry in enumerate(entries) if entry.index not in skipped]
        refused = {
            entries[log.position].index: f"{len(log.json):,} bytes: Datadog would cut it off after 1 MB"
            for log in logs
            if len(log.json) > LONGEST_LOG
        }
        sent = 0
        for batch in batches(log for log in logs if len(log.json) <= LONGEST_LOG):
            try:
                sent += self._post(batch)
            except DeliveryFailed as failure:
                done = batch[0].position
                receipt = Receipt(sent, of_first(entries[:done], refused), of_first(entries[:done], skipped))
                raise type(failure)(str(failure), retry_after=failure.retry_after, done=done, receipt=receipt) from None
        return Receipt(sent, refused, skipped)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _log(self, entry: Entry) -> bytes:
        """Returns an event as JSON. Datadog parses the message, which is JSON too, into attributes."""
        log = {
            **self._attributes,
            "timestamp": int(entry.occurred_at.timestamp() * 1_000),
            "status": STATUS.get(entry.outcome, "info"),
            "message": to_json(self._form(entry)),
        }
        return to_json(log).encode()

    def _post(self, batch: Sequence[Log]) -> int:
        """Sends logs, and returns their bytes before compression."""
        body = b"[" + b",".join(log.json for log in batch) + b"]"
        self._client.post(self._path, body, self._headers, compress=True).require_success()
        return len(body)


def batches(logs: Iterator[Log]) -> Iterator[list[Log]]:
    """Yields the logs in lists, each within the limits of one request."""
    batch: list[Log] = []
    size = 2  # the brackets
    for log in logs:
        if batch and (size + len(log.json) + 1 > LARGEST_REQUEST or len(batch) == MOST_LOGS):
            yield batch
            batch, size = [], 2
        batch.append(log)
        size += len(log.json) + 1
    if batch:
        yield batch


def of_first(entries: Sequence[Entry], reasons: dict[int, str]) -> dict[int, str]:
    """Returns those of the reasons that are about these events."""
    return {entry.index: reasons[entry.index] for entry in entries if entry.index in reasons}
