"""Splunk's HTTP Event Collector: batches, acknowledgement, its codes, and events that it does not want."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.streams.destinations import open_destination, splunk
from pgaudit.streams.destinations.splunk import Splunk
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused
from pgaudit.streams.sending import send
from tests.support.log_entries import entries, entry
from tests.support.receivers import Reply, Request, request_to, serving
from tests.support.splunk import Hec, said
from tests.support.streams import append, send_all

ACK = "/services/collector/ack"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the environment."""
    monkeypatch.setenv("TOKEN", Hec().token)


@contextmanager
def opened(hec: Hec, options: str = "", **more: Any) -> Iterator[Splunk]:
    """Opens a stream to that collector."""
    with serving(hec.answer) as url:
        destination = open_destination(request_to(f"splunk+{url}?token=env:TOKEN{options}", **more))
        assert isinstance(destination, Splunk)
        try:
            yield destination
        finally:
            destination.close()


def test_a_chunk_is_one_compressed_request() -> None:
    """Objects one after the other, with the time of the event to the microsecond and what the URL says."""
    hec = Hec()
    given = entries(3, data={"amount": 1.10})
    with opened(hec, "&index=audit&host=db1&sourcetype=audit:json") as destination:
        receipt = destination.send(given)
    (request,) = hec.requests
    assert request.headers["content-encoding"] == "gzip"
    assert receipt.bytes == len(request.body)
    assert b'"amount": 1.1' in request.body
    for event, sent in zip(hec.indexed, given, strict=True):
        assert event["time"] == pytest.approx(sent.occurred_at.timestamp(), abs=1e-6)
        assert event["event"]["event"]["id"] == str(sent.event_id)
        named = {"index": "audit", "host": "db1", "source": "pgaudit:siem", "sourcetype": "audit:json"}
        assert {name: event[name] for name in named} == named


def test_a_chunk_is_done_when_it_is_indexed() -> None:
    """The collector is asked on the channel of the request, until it says so."""
    hec = Hec(acknowledges=True, asked_before=3)
    with opened(hec, "&ack=true") as destination:
        destination.send(entries(3))
        assert hec.indexes == [0, 1, 2]
    assert [request.path for request in hec.requests].count(ACK) == 4
    assert len({request.headers["x-splunk-request-channel"] for request in hec.requests}) == 1


def test_a_chunk_that_is_not_indexed_in_time_is_asked_for_before_it_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Splunk may take minutes over the last events: sending them again would store them twice."""
    monkeypatch.setattr(splunk, "ACK_SECONDS", 0.2)
    hec = Hec(acknowledges=True, asked_before=5)
    with opened(hec) as destination:
        with pytest.raises(DeliveryFailed, match="it has not indexed 3 events within") as raised:
            destination.send(entries(3))
        assert raised.value.done == 0
        rest = entries(5)
        while rest:
            try:
                destination.send(rest)
                rest = []
            except DeliveryFailed as failure:
                rest = rest[failure.done :]
    assert hec.indexes == [0, 1, 2, 3, 4]
    assert hec.last_ack == 1


def test_a_chunk_that_is_never_indexed_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An indexer that has died has lost it."""
    monkeypatch.setattr(splunk, "ACK_SECONDS", 0.1)
    monkeypatch.setattr(splunk, "ACK_VALID_SECONDS", 0.0)
    hec = Hec(acknowledges=True, asked_before=1_000)
    with opened(hec) as destination:
        with pytest.raises(DeliveryFailed):
            destination.send(entries(2))
        hec.asked_before = 0
        destination.send(entries(2))
    assert hec.indexes == [0, 1]


def test_a_collector_that_is_restarted_meanwhile_gets_the_events_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken for indexed that was not said to be."""
    monkeypatch.setattr(splunk, "ACK_SECONDS", 0.1)
    hec = Hec(acknowledges=True, asked_before=1_000)
    with opened(hec) as destination:
        for _ in range(2):
            with pytest.raises(DeliveryFailed, match="not indexed"):
                destination.send(entries(2))
            hec.waiting.clear()
    assert hec.indexed == []
    assert hec.last_ack == 0


def test_an_acknowledgement_that_is_asked_for_and_not_there() -> None:
    """``ack=true`` insists: the token has to be changed."""
    refused = pytest.raises(DestinationRefused, match="its token has no indexer acknowledgement")
    with opened(Hec(), "&ack=true") as destination, refused:
        destination.send([entry()])


@pytest.mark.parametrize("first_number", [0, 1])
@pytest.mark.parametrize("code", [6, 13, 15])
def test_events_that_the_collector_names_are_refused_and_the_others_indexed(first_number: int, code: int) -> None:
    """However it counts: an event is only refused after the collector has refused it alone."""
    hec = Hec(is_bad=lambda event: code if event["index"] % 10 == 5 else 0, first_number=first_number)
    with opened(hec) as destination:
        receipt = destination.send(entries(30))
    assert sorted(receipt.refused) == [5, 15, 25]
    assert "it answers 400 Bad Request" in receipt.refused[5]
    assert set(hec.indexes) == set(range(30)) - {5, 15, 25}


def test_a_number_that_names_nothing_wrong() -> None:
    """Then the events are sent in halves, until the one is found."""
    hec = Hec(is_bad=lambda event: 6 if event["index"] == 7 else 0, first_number=20)
    with opened(hec) as destination:
        with pytest.raises(EventsRefused):
            destination.send(entries(10))
        sent = send(destination, entries(10))
    assert list(sent.refused) == [7]
    assert {e.index for e in sent.accepted} == set(range(10)) - {7}


@pytest.mark.parametrize(
    ("hec", "why"),
    [
        (Hec(token="other"), "403 Forbidden: .*Invalid token"),
        (Hec(disabled=True), "403 Forbidden: .*Token disabled"),
        (Hec(allowed_indexes=frozenset()), "400 Bad Request: .*Incorrect index"),
        (Hec(busy=[said(400, 21, "Invalid token")]), "Invalid token"),
    ],
)
def test_a_collector_that_does_not_let_us_in_pauses_the_stream(hec: Hec, why: str) -> None:
    """Also an index that the token may not write to: no event is to blame."""
    with opened(hec) as destination, pytest.raises(DestinationRefused, match=why):
        destination.send(entries(3))
    assert hec.indexed == []


@pytest.mark.parametrize(
    "reply",
    [
        said(503, 9, "Server is busy"),
        said(500, 8, "Internal server error"),
        said(503, 23, "Server is shutting down"),
        said(429, 26, "Queue at capacity"),
        Reply(404, b"<html>"),
        Reply(200, b"<html>please log in</html>"),
        Reply(200, b'{"text": "Success"}'),
    ],
)
def test_a_collector_that_does_not_take_events_now(reply: Reply) -> None:
    """It is tried again; a page of somebody else is no success, whatever its status."""
    hec = Hec(busy=[Reply(reply.status, reply.body, {"Retry-After": "9"})])
    with opened(hec) as destination:
        with pytest.raises(DeliveryFailed) as raised:
            destination.send(entries(3))
        assert not isinstance(raised.value, DestinationRefused)
        assert raised.value.retry_after == 9
        destination.send(entries(3))
    assert hec.indexes == [0, 1, 2]


def test_a_batch_that_is_too_large_is_sent_in_halves() -> None:
    """The collector's own limit may be lower than ours."""

    def small(request: Request) -> Reply:
        return Reply(413) if request.body.count(b'"leaf_hash"') > 3 else hec.answer(request)

    hec = Hec()
    with serving(small) as url:
        destination = open_destination(request_to(f"splunk+{url}?token=env:TOKEN"))
        sent = send(destination, entries(10))
        destination.close()
    assert len(sent.accepted) == 10
    assert hec.indexes == list(range(10))


def test_a_stream_to_splunk(dsn: str) -> None:
    """A busy collector is waited for, bad events are parked, and the rest is there once."""
    append(dsn, 40)
    hec = Hec(acknowledges=True, busy=[said(503, 9, "Server is busy")])
    hec.is_bad = lambda event: 6 if event["index"] == 11 else 0
    with serving(hec.answer) as url, psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to=f"splunk+{url}?token=env:TOKEN&ack=true", start=0, allow_private=True)
        for _ in range(2):
            send_all(dsn, "siem", Settings(dsn=dsn, job_backoff_delay=1))
            conn.execute("UPDATE pgaudit.stream_position SET next_attempt_at = '-infinity'")
        found = streams.get_stream(conn, "siem")
        parked = [one.index for one in streams.parked(conn, "siem")]
    assert parked == [11]
    assert (found.next_index, found.state) == (40, "active")
    assert sorted(hec.indexes) == [index for index in range(40) if index != 11]
