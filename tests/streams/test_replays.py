"""A replay sends a range again, and the stream goes on meanwhile."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from pgaudit import streams
from pgaudit.errors import InvalidStream, StreamNotFound
from pgaudit.streams import stream_thread
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry
from tests.support.streams import append, lines, send_all


@pytest.fixture
def sent(dsn: str, tmp_path: Path) -> Path:
    """Ten events that a stream has written into this directory."""
    append(dsn, 10)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=f"file:{tmp_path}/out", start=0)
    send_all(dsn, "siem")
    return tmp_path / "out"


def indexes(directory: Path) -> list[int]:
    """Returns the indexes of the events that a directory has, in the order of its files."""
    return [line["index"] for line in lines(directory)]


def test_a_range_is_sent_again_and_the_stream_goes_on_where_it_was(dsn: str, sent: Path) -> None:
    """Newer events come first, and the position stays; the history has the range."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 3, 5)
        found = streams.get_stream(conn, "siem")
        assert (found.replay_from, found.replay_to, found.replay_next) == (3, 5, 3)
        append(dsn, 2)
        send_all(dsn, "siem")
        assert sorted(indexes(sent)) == [0, 1, 2, 3, 3, 4, 4, 5, 5, *range(6, 13)]
        assert streams.get_stream(conn, "siem").replay_from is None
        assert streams.get_stream(conn, "siem").next_index == 13  # with the event about the replay
        replayed = next(one for one in streams.deliveries(conn, "siem") if one.status == "replayed")
        assert (replayed.from_index, replayed.to_index, replayed.events) == (3, 5, 3)
    append(dsn, 1)
    send_all(dsn, "siem")
    assert max(indexes(sent)) == 13


def test_only_matching_events_are_sent_again(dsn: str, tmp_path: Path) -> None:
    """A range without one of them ends as well."""
    append(dsn, 10)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to=f"file:{tmp_path}/out", query="target:claim:4", start=0)
        send_all(dsn, "siem")
        for first, last, events in ((0, 9, 1), (5, 9, 0)):
            streams.replay(conn, "siem", first, last)
            send_all(dsn, "siem")
            assert streams.get_stream(conn, "siem").replay_from is None
            newest = streams.deliveries(conn, "siem")[0]
            assert (newest.status, newest.from_index, newest.to_index, newest.events) == (
                "replayed",
                first,
                last,
                events,
            )


def test_a_replay_can_be_stopped(dsn: str, sent: Path) -> None:
    """Nothing of it is sent then; there is one at a time."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 0, 9)
        with pytest.raises(InvalidStream, match="a replay of stream siem is under way"):
            streams.replay(conn, "siem", 0, 1)
        assert streams.stop_replay(conn, "siem")
        assert not streams.stop_replay(conn, "siem")
        send_all(dsn, "siem")
    assert indexes(sent) == list(range(10))


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(("first", "last"), [(0, 10), (-1, 3), (5, 4)])
def test_a_range_that_the_stream_has_not_passed_is_refused(dsn: str, first: int, last: int) -> None:
    """The message has the indexes that can be given."""
    with psycopg.connect(dsn) as conn, pytest.raises(InvalidStream, match="has passed already: index 0 to 9"):
        streams.replay(conn, "siem", first, last)
    with psycopg.connect(dsn) as conn, pytest.raises(StreamNotFound):
        streams.replay(conn, "other", 0, 0)


def test_a_paused_stream_replays_nothing(dsn: str, sent: Path) -> None:
    """Until it is resumed."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 0, 1)
        streams.pause(conn, "siem", "maintenance")
        send_all(dsn, "siem")
        assert len(indexes(sent)) == 10
        streams.resume(conn, "siem")
        send_all(dsn, "siem")
        assert len(indexes(sent)) == 12


class Scripted(BaseDestination):
    """A destination that answers a stream which was rewound with an error, and takes everything else."""

    def __init__(self, request: Request, error: DeliveryFailed, taken: list[int]) -> None:
        self._error = None if request.continued else error
        self._taken = taken

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Takes events, or does not."""
        if self._error is not None:
            raise self._error
        self._taken += [entry.index for entry in entries]
        return Receipt()


@pytest.mark.parametrize(
    ("error", "goes_on"), [(DeliveryFailed("busy"), True), (DestinationRefused("it has these already"), False)]
)
@pytest.mark.usefixtures("sent")
def test_a_replay_that_fails_does_not_hold_up_the_stream(
    dsn: str, monkeypatch: pytest.MonkeyPatch, error: DeliveryFailed, goes_on: bool
) -> None:
    """It is tried again, unless it was refused; newer events are sent, and the stream is not paused."""
    taken: list[int] = []
    monkeypatch.setattr(stream_thread, "open_destination", lambda request: Scripted(request, error, taken))
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 2, 5)
        send_all(dsn, "siem")
        append(dsn, 2)
        send_all(dsn, "siem")
        found, (newest, *others) = streams.get_stream(conn, "siem"), streams.deliveries(conn, "siem")
    assert taken == [10, 11, 12]
    assert (found.state, found.next_index, found.replay_from) == ("active", 13, 2 if goes_on else None)
    assert newest.status == "delivered"
    assert str(error) in (others[0].error or "")


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("error", "goes_on"), [(DeliveryFailed("no connection"), True), (DestinationRefused("no such bucket"), False)]
)
def test_a_replay_waits_for_a_destination_that_cannot_be_opened(
    dsn: str, monkeypatch: pytest.MonkeyPatch, error: DeliveryFailed, goes_on: bool
) -> None:
    """The stream's thread goes on: the failure is noted, and the next attempt has a delay; what is refused ends."""

    def open_or_fail(request: Request) -> Scripted:
        if not request.continued:
            raise error
        return Scripted(request, error, [])

    monkeypatch.setattr(stream_thread, "open_destination", open_or_fail)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 2, 5)
        send_all(dsn, "siem")
        found, newest = streams.get_stream(conn, "siem"), streams.deliveries(conn, "siem")[0]
    assert (found.state, found.replay_from) == ("active", 2 if goes_on else None)
    assert newest.status == "failed"
    assert str(error) in (newest.error or "")


@pytest.mark.usefixtures("sent")
def test_a_failed_replay_is_tried_again(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where it was, once its delay is over."""
    taken: list[int] = []
    busy = [DeliveryFailed("busy")]
    monkeypatch.setattr(stream_thread, "open_destination", lambda request: Scripted(request, busy[0], taken))
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 2, 5)
        send_all(dsn, "siem")
        assert streams.get_stream(conn, "siem").replay_error == "busy"
        monkeypatch.undo()
        conn.execute("UPDATE pgaudit.stream_replay SET next_attempt_at = '-infinity'")
        send_all(dsn, "siem")
        newest = streams.deliveries(conn, "siem")[0]
        assert (newest.status, newest.from_index, newest.to_index, newest.attempts) == ("replayed", 2, 5, 2)


@pytest.mark.usefixtures("sent")
def test_a_range_of_many_chunks_is_sent_to_its_end(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event once, in the order of the log."""
    taken: list[int] = []

    class Small(Scripted):
        """Takes three events at a time."""

        limits = Limits(events=3)

        def __init__(self, request: Request) -> None:
            super().__init__(request, DeliveryFailed(""), taken)
            self._error = None

    monkeypatch.setattr(stream_thread, "open_destination", Small)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.replay(conn, "siem", 1, 8)
        send_all(dsn, "siem")
        assert taken == list(range(1, 9))
        assert streams.get_stream(conn, "siem").replay_from is None


def test_a_stream_that_has_sent_nothing_has_nothing_to_send_again(dsn: str, tmp_path: Path) -> None:
    """The sentence says so, and names no range."""
    append(dsn, 3)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=f"file:{tmp_path}/out", start=0)
        with pytest.raises(InvalidStream, match="stream siem has sent nothing yet"):
            streams.replay(conn, "siem", 0, 2)
