"""OpenTelemetry: what is sent is a request of OTLP/HTTP, as its schema in protobuf reads it."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from pgaudit import streams
from pgaudit.errors import InvalidStream
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.destinations.otlp import Collector, nanoseconds
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.sending import send
from pgaudit.streams.urls import StreamURL
from tests.support.log_entries import entries, entry
from tests.support.receivers import Reply, Request, request_to, serving
from tests.support.streams import append, send_all

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Backend:
    """A collector that reads each request by the schema, and refuses the records that it is told to."""

    def __init__(self, is_bad: Callable[[LogRecord], bool] = lambda _: False) -> None:
        self.requests: list[Request] = []
        self.records: list[LogRecord] = []
        self.resources: list[Any] = []
        self.is_bad = is_bad

    def answer(self, request: Request) -> Reply:
        """Accepts what is not bad, and says how many were."""
        self.requests.append(request)
        assert request.path == "/v1/logs"
        assert request.headers["content-type"] == "application/json"
        found = parse(request.body)
        good = [one for one in found if not self.is_bad(one)]
        self.records += good
        if len(good) == len(found):
            return Reply(200, b"{}")
        partial = {"rejectedLogRecords": str(len(found) - len(good)), "errorMessage": "too strange"}
        return Reply(200, json.dumps({"partialSuccess": partial}).encode())


def parse(body: bytes) -> list[LogRecord]:
    """Returns the records of a request. In OTLP's JSON the ids of traces are hex, in protobuf's they are base64."""
    request = json.loads(body)
    for logs in request["resourceLogs"]:
        for scope in logs["scopeLogs"]:
            for record in scope["logRecords"]:
                for name in ("traceId", "spanId"):
                    if name in record:
                        record[name] = b64encode(bytes.fromhex(record[name])).decode()
    parsed = Parse(json.dumps(request), ExportLogsServiceRequest(), ignore_unknown_fields=False)
    return [record for logs in parsed.resource_logs for scope in logs.scope_logs for record in scope.log_records]


@contextmanager
def opened(answer: Callable[[Request], Reply], query: str = "", path: str = "") -> Iterator[Collector]:
    """Opens a stream to that collector."""
    with serving(answer) as url:
        destination = open_destination(request_to(f"otlp+{url}{path}{query}"))
        assert isinstance(destination, Collector)
        try:
            yield destination
        finally:
            destination.close()


def test_a_record_has_what_the_event_has() -> None:
    """Times, severity, name, trace and span, and the event itself with all its digits."""
    backend = Backend()
    sent = entry(7, outcome="denied", context={"trace_id": TRACE, "span_id": SPAN.upper()}, data={"amount": 1.10})
    with opened(backend.answer, "?service=claims") as destination:
        receipt = destination.send([sent])
    (request,) = backend.requests
    (record,) = backend.records
    assert receipt.bytes == len(request.body)
    assert record.time_unix_nano == int(sent.occurred_at.timestamp() * 1e6) * 1_000
    assert record.observed_time_unix_nano == int(sent.persisted_at.timestamp() * 1e6) * 1_000
    assert (record.severity_number, record.severity_text, record.event_name) == (13, "WARN", "claim.approved")
    assert (record.trace_id.hex(), record.span_id.hex()) == (TRACE, SPAN)
    assert json.loads(record.body.string_value)["event"]["data"] == {"amount": 1.10}
    attributes = {one.key: one.value.string_value or one.value.int_value for one in record.attributes}
    assert attributes == {
        "log.record.uid": str(sent.event_id), "audit.index": 7, "audit.outcome": "denied",
        "audit.actor": "user:42", "audit.target": "claim:7",
    }  # fmt: skip
    assert request.json["resourceLogs"][0]["resource"] == {
        "attributes": [{"key": "service.name", "value": {"stringValue": "claims"}}]
    }


def test_ids_that_are_none_of_opentelemetry_are_left_out() -> None:
    """A collector would refuse them; the body has them."""
    backend = Backend()
    with opened(backend.answer) as destination:
        destination.send([entry(context={"trace_id": "req-7", "span_id": SPAN + "00"}), entry(1)])
    assert [record.trace_id + record.span_id for record in backend.records] == [b"", b""]


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "1000"),
        (datetime(1969, 12, 31, tzinfo=UTC), "0"),
        (datetime(2554, 1, 1, tzinfo=UTC), "18429292800000000000"),
        (datetime(9999, 1, 1, tzinfo=UTC), "0"),
    ],
)
def test_times_that_a_record_cannot_have(moment: datetime, count: str) -> None:
    """They are unknown in the record, and in the event as ever."""
    assert nanoseconds(moment) == count


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("?token=env:TOKEN", "authorization", "Bearer t0ken"),
        ("?token=env:TOKEN&header=X-Api-Key", "x-api-key", "t0ken"),
    ],
)
def test_the_token(monkeypatch: pytest.MonkeyPatch, query: str, name: str, value: str) -> None:
    """A bearer, or in the header that the vendor wants."""
    monkeypatch.setenv("TOKEN", "t0ken")
    backend = Backend()
    with opened(backend.answer, query) as destination:
        destination.send([entry()])
    assert backend.requests[0].headers[name] == value


@pytest.mark.parametrize("header", ["a%20b", "X-Api-Key:hunter2", "Authorization:%20Bearer%20hunter2"])
def test_a_header_that_is_no_name_of_one(header: str) -> None:
    """It is refused before it is stored: it may have the secret itself."""
    with pytest.raises(InvalidStream, match="header is the name of a header") as raised:
        StreamURL.parse(f"otlp+https://siem?token=env:TOKEN&header={header}")
    assert "hunter2" not in str(raised.value)


def test_the_path() -> None:
    """``/v1/logs`` is added below a prefix, and not twice."""
    paths: list[str] = []

    def note(request: Request) -> Reply:
        paths.append(request.path)
        return Reply()

    for path in ("", "/", "/otlp", "/otlp/v1/logs"):
        with opened(note, path=path) as destination:
            destination.send([entry()])
    assert paths == ["/v1/logs", "/v1/logs", "/otlp/v1/logs", "/otlp/v1/logs"]


def test_records_that_are_refused_among_others_are_found() -> None:
    """The answer says how many, and not which: halves are sent until each is alone."""
    backend = Backend(lambda record: json.loads(record.body.string_value)["index"] % 7 == 3)
    with opened(backend.answer) as destination:
        sent = send(destination, entries(20))
    assert sorted(sent.refused) == [3, 10, 17]
    assert sent.refused[3].startswith('1 refused: {"partialSuccess"')
    assert sorted(one.index for one in sent.accepted) == [n for n in range(20) if n % 7 != 3]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"partialSuccess": {}}', b'{"partialSuccess": {"errorMessage": "slow"}}']
)
def test_what_is_a_full_success(body: bytes) -> None:
    """Also with a warning."""
    with opened(lambda _: Reply(200, body)) as destination:
        assert destination.send([entry()]).refused == {}


@pytest.mark.parametrize(
    "body",
    [b"<html>log in</html>", b"[]", b'{"partialSuccess": 7}', b'{"partialSuccess": {"rejectedLogRecords": "x"}}'],
)
def test_a_success_that_nobody_can_read_is_none(body: bytes) -> None:
    """It may be somebody else's page."""
    with opened(lambda _: Reply(200, body)) as destination, pytest.raises(DeliveryFailed):
        destination.send([entry()])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_the_protocol_says_to_try_again(status: int) -> None:
    """When the collector says so."""
    failed = pytest.raises(DeliveryFailed, match=f"it answers {status}")
    with opened(lambda _: Reply(status, headers={"Retry-After": "3"})) as destination, failed as raised:
        destination.send([entry()])
    assert not isinstance(raised.value, DestinationRefused)
    assert raised.value.retry_after == 3


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 500, 501])
def test_what_the_protocol_says_not_to_try_again(status: int) -> None:
    """The stream is paused, and nothing is lost."""
    with opened(lambda _: Reply(status)) as destination, pytest.raises(DestinationRefused, match="not to try again"):
        destination.send([entry()])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_sent_in_halves(status: int) -> None:
    """Down to the event that is to blame."""
    with opened(lambda _: Reply(status)) as destination, pytest.raises(EventsRefused):
        destination.send([entry()])


def test_a_stream_to_a_collector(dsn: str) -> None:
    """Bad events are parked, the others are there in order."""
    append(dsn, 20)
    backend = Backend(lambda record: json.loads(record.body.string_value)["index"] == 4)
    with serving(backend.answer) as url, psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "otel", to=f"otlp+{url}", start=0, allow_private=True)
        send_all(dsn, "otel")
        assert [one.index for one in streams.parked(conn, "otel")] == [4]
        assert streams.found(conn, "otel").next_index == 20
    indexes = [json.loads(record.body.string_value)["index"] for record in backend.records]
    assert set(indexes) == set(range(20)) - {4}
