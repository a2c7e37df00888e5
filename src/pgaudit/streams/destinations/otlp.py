"""OpenTelemetry: log records over OTLP/HTTP, in the JSON encoding.

The body of a record is the event as JSON text, so that its numbers keep all digits. A collector may forward a record
twice; ``log.record.uid``, the event's id, identifies it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.http_client import Client, open_client, read_token
from pgaudit.streams.destinations.http_response import UNACCEPTABLE, Response
from pgaudit.streams.forms import Form, form_of
from pgaudit.streams.outcomes import DestinationRefused, EventsRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.entry import Entry

PATH: Final = "/v1/logs"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_NANOSECOND: Final = 2**64 - 1
# What the protocol says to try again. After any other status it says not to.
RETRYABLE: Final = frozenset({429, 502, 503, 504})
SEVERITY: Final = {"success": (9, "INFO"), "denied": (13, "WARN"), "failure": (17, "ERROR")}
IDENTITIES: Final = {
    "traceId": ("trace_id", re.compile("[0-9a-f]{32}")),
    "spanId": ("span_id", re.compile("[0-9a-f]{16}")),
}


def open_destination(request: Request) -> "Collector":
    """Returns the collector of a stream.

    :raises DestinationRefused: the token is missing, or the URL cannot be used.
    """
    token = read_token(request.url, "token")
    return Collector(request, open_client(request, [token]), headers_of(request.url, token))


def headers_of(url: StreamURL, token: str) -> dict[str, str]:
    """Returns the header with the token: a bearer, or in the header that is named."""
    name = url.option("header")
    if not token:
        return {}
    return {name: token} if name else {"Authorization": f"Bearer {token}"}


class Collector(BaseDestination):
    """An endpoint of OTLP/HTTP."""

    limits = Limits(events=1_000, bytes=2_000_000)

    def __init__(self, request: Request, client: Client, headers: Mapping[str, str]) -> None:
        path = request.url.path.rstrip("/")
        self._client = client
        self._path = path if path.endswith(PATH) else path + PATH
        self._headers = headers
        self._form = form_of(request.form)
        self._resource = {"attributes": [text("service.name", request.url.option("service", "pgaudit"))]}
        self._scope = {"name": "pgaudit", "attributes": [text("pgaudit.stream", request.stream)]}

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends events in one request."""
        records = [record(entry, self._form) for entry in entries]
        logs = [{"resource": self._resource, "scopeLogs": [{"scope": self._scope, "logRecords": records}]}]
        body = to_json({"resourceLogs": logs}).encode()
        require_accepted(self._client.post(self._path, body, self._headers, compress=True))
        return Receipt(len(body))

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


def record(entry: Entry, form: Form) -> dict[str, Any]:
    """Returns an event as a log record."""
    number, severity = SEVERITY.get(entry.outcome, SEVERITY["success"])
    given = {"audit.actor": entry.actor, "audit.target": entry.target, "audit.tenant": entry.tenant}
    return {
        "timeUnixNano": nanoseconds(entry.occurred_at),
        "observedTimeUnixNano": nanoseconds(entry.persisted_at),
        "severityNumber": number,
        "severityText": severity,
        "eventName": entry.action,
        "body": {"stringValue": to_json(form(entry))},
        "attributes": [
            text("log.record.uid", str(entry.event_id)),
            {"key": "audit.index", "value": {"intValue": str(entry.index)}},
            text("audit.outcome", entry.outcome),
            *(text(name, value) for name, value in given.items() if value),
        ],
        **identities(entry),
    }


def identities(entry: Entry) -> dict[str, str]:
    """Returns the trace and span id of the event, if they have the format of OpenTelemetry."""
    context: dict[str, Any] = entry.event.get("context") or {}
    given = {name: str(context.get(key, "")).lower() for name, (key, _) in IDENTITIES.items()}
    return {name: value for name, value in given.items() if IDENTITIES[name][1].fullmatch(value)}


def text(key: str, value: str) -> dict[str, Any]:
    """Returns an attribute."""
    return {"key": key, "value": {"stringValue": value}}


def nanoseconds(moment: datetime) -> str:
    """Returns a moment in nanoseconds; 0, which is an unknown one, if it is not between 1970 and 2554."""
    count = (moment - EPOCH) // timedelta(microseconds=1) * 1_000
    return str(count if 0 <= count <= LAST_NANOSECOND else 0)


def require_accepted(answer: Response) -> None:
    """Raises unless all events were accepted.

    :raises EventsRefused: some or all were refused; sending fewer shows which.
    :raises DestinationRefused: the protocol says not to retry.
    :raises DeliveryFailed: they may be accepted later.
    """
    if answer.is_success:
        require_all(answer)
        return
    if answer.status in RETRYABLE:
        raise answer.failure()
    if answer.status in UNACCEPTABLE:
        raise EventsRefused(str(answer))
    raise DestinationRefused(f"{answer}. The protocol says not to try again")


def require_all(answer: Response) -> None:
    """Raises if the response reports rejected records.

    :raises EventsRefused: it does; it says how many, but not which.
    """
    try:
        said = json.loads(answer.body or b"{}")
        count = int(said.get("partialSuccess", {}).get("rejectedLogRecords", 0))
    except (ValueError, TypeError, AttributeError):
        raise answer.failure() from None
    if count > 0:
        raise EventsRefused(f"{count} refused: {answer.excerpt}")
