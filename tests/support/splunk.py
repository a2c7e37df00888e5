"""A HTTP Event Collector (HEC) as Splunk documents it: tokens, batches, channels, acknowledgements, its codes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.receivers import Reply, Request


def said(status: int, code: int, text: str, **more: Any) -> Reply:
    """Returns an answer of HEC."""
    return Reply(status, json.dumps({"text": text, "code": code, **more}).encode())


def objects(text: str) -> list[Any]:
    """Returns the JSON values of a text, one after the other, with nothing or blanks between them.

    :raises ValueError: there is something else.
    """
    decoder, values, position = json.JSONDecoder(), [], 0
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        values.append(value)
        position += len(text[position:]) - len(text[position:].lstrip())
    return values


@dataclass
class Hec:
    """A collector with one token.

    :ivar acknowledges: whether the token has indexer acknowledgement; ``asked_before`` how often a client has to ask.
    :ivar is_bad: which events are invalid, with the code; and from which number on they are counted.
    """

    token: str = "11111111-2222-3333-4444-555555555555"
    acknowledges: bool = False
    asked_before: int = 0
    disabled: bool = False
    allowed_indexes: frozenset[str] = frozenset({"audit"})
    is_bad: Callable[[Any], int] = lambda _: 0
    first_number: int = 0
    busy: list[Reply] = field(default_factory=list)
    indexed: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[tuple[str, int], tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    last_ack: int = -1

    @property
    def indexes(self) -> list[int]:
        """The indexes of the events that can be searched."""
        return [event["event"]["index"] for event in self.indexed]

    def answer(self, request: Request) -> Reply:
        """Answers the two endpoints."""
        self.requests.append(request)
        refused = self.refusal(request)
        if refused is not None:
            return refused
        if self.busy:
            return self.busy.pop(0)
        if urlsplit(request.path).path == "/services/collector/ack":
            return self.acks(request)
        if request.path != "/services/collector/event":
            return Reply(404, b"<html>not found</html>")
        return self.take(request)

    def refusal(self, request: Request) -> Reply | None:
        """Returns why the client is not let in."""
        given = request.headers.get("authorization")
        if given is None:
            return said(401, 2, "Token is required")
        if not given.startswith("Splunk "):
            return said(401, 3, "Invalid authorization")
        if given != f"Splunk {self.token}":
            return said(403, 4, "Invalid token")
        if self.disabled:
            return said(403, 1, "Token disabled")
        if self.acknowledges and "x-splunk-request-channel" not in request.headers:
            return said(400, 10, "Data channel is missing")
        return None

    def take(self, request: Request) -> Reply:
        """Takes a batch up to the first invalid event, as Splunk does."""
        try:
            events = objects(request.body.decode())
        except ValueError:
            return said(400, 6, "Invalid data format", **{"invalid-event-number": 0})
        if not events:
            return said(400, 5, "No data")
        for number, event in enumerate(events):
            wrong = self.fault(event)
            if wrong:
                code, text = wrong
                return said(400, code, text, **{"invalid-event-number": number + self.first_number})
            if not self.acknowledges:
                self.indexed.append(event)
        if not self.acknowledges:
            return said(200, 0, "Success")
        self.last_ack += 1
        channel = request.headers["x-splunk-request-channel"]
        self.waiting[channel, self.last_ack] = (self.asked_before, events)
        return said(200, 0, "Success", ackId=self.last_ack)

    def fault(self, event: dict[str, Any]) -> tuple[int, str] | None:
        """Returns what is wrong with an event: HEC's code and words."""
        if not isinstance(event.get("time"), int | float):
            return 6, "Invalid data format"
        if "event" not in event:
            return 12, "Event field is required"
        if event["event"] in ("", None, {}):
            return 13, "Event field cannot be blank"
        if event.get("index", "audit") not in self.allowed_indexes:
            return 7, "Incorrect index"
        code = self.is_bad(event["event"])
        return (code, "Invalid data format") if code else None

    def acks(self, request: Request) -> Reply:
        """Says which batches are indexed; each is told once."""
        if not self.acknowledges:
            return said(400, 14, "ACK is disabled")
        channel = request.headers["x-splunk-request-channel"]
        states: dict[str, bool] = {}
        for ack in request.json["acks"]:
            left, events = self.waiting.pop((channel, ack), (None, []))
            states[str(ack)] = left == 0
            if left:
                self.waiting[channel, ack] = (left - 1, events)
            self.indexed += events if left == 0 else []
        return Reply(200, json.dumps({"acks": states}).encode())
