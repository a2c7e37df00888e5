"""An error that nobody has expected is seen with the stream: it fails, and is retried with a delay."""

from collections.abc import Sequence

import psycopg
import pytest

from pgaudit import streams
from pgaudit.errors import InvalidStream, MissingExtra
from pgaudit.streams import stream_thread
from pgaudit.streams.destinations.destination import BaseDestination
from pgaudit.streams.outcomes import Receipt
from pgaudit.streams.request import Request
from pgaudit.trail import Entry
from tests.support.streams import Receiver, append, send_all


class Broken(BaseDestination):
    """A destination with a fault in its code."""

    def send(self, entries: Sequence[Entry]) -> Receipt:  # noqa: ARG002 - see Destination
        """Fails."""
        raise ZeroDivisionError("claim 7")


@pytest.mark.parametrize("part", ["opening", "sending"])
def test_it_is_an_error_of_the_stream(dsn: str, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Its message, which may quote an event, is not kept; the stream goes on when the cause is gone."""

    def opened(request: Request) -> BaseDestination:
        assert request.stream == "siem"
        if part == "opening":
            raise ZeroDivisionError("claim 7")
        return Broken()

    append(dsn, 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        monkeypatch.setattr(stream_thread, "open_destination", opened)
        send_all(dsn, "siem")
        stream = streams.get_stream(conn, "siem")
        assert (stream.state, stream.error) == ("failing", "unexpected error: ZeroDivisionError")
        assert stream.next_attempt_at is not None
        receiver = Receiver()
        monkeypatch.setattr(stream_thread, "open_destination", lambda _: receiver)
        streams.resume(conn, "siem")
        send_all(dsn, "siem")
    assert receiver.taken == [0, 1]


def test_an_error_in_a_replay_is_not_the_streams(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay waits for its next attempt; newer events are sent."""
    append(dsn, 2)
    receiver = Receiver()
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        monkeypatch.setattr(stream_thread, "open_destination", lambda one: Broken() if one.is_replay else receiver)
        send_all(dsn, "siem")
        streams.replay(conn, "siem", 0, 1)
        send_all(dsn, "siem")
        stream = streams.get_stream(conn, "siem")
    assert (stream.state, stream.lag_events) == ("active", 0)
    assert (stream.replay_next, stream.replay_error) == (0, "unexpected error: ZeroDivisionError")


def test_a_worker_without_the_packages_says_so(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker, which has them, may send the stream at the next attempt."""

    def opened(_: Request) -> BaseDestination:
        raise MissingExtra('a stream to kafka needs confluent_kafka: pip install "pgaudit[kafka]"')

    append(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        monkeypatch.setattr(stream_thread, "open_destination", opened)
        send_all(dsn, "siem")
        stream = streams.get_stream(conn, "siem")
    assert stream.state == "failing"
    assert 'pip install "pgaudit[kafka]"' in (stream.error or "")


@pytest.mark.parametrize("index", [-1, 3])
def test_a_stream_cannot_go_on_with_an_event_that_the_log_does_not_have(dsn: str, index: int) -> None:
    """The error has the indexes that it can go on with."""
    append(dsn, 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        with pytest.raises(InvalidStream, match=f"can go on with index 0 to 2, and not with {index}"):
            streams.rewind(conn, "siem", index)
