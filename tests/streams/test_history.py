"""The history of deliveries: one row for what goes well within a minute, and one for each attempt that fails."""

import psycopg
import pytest

from pgaudit import streams
from pgaudit.streams import Delivery, positions
from pgaudit.streams.outcomes import DeliveryFailed
from tests.support.streams import Receiver, append, ship

NOTE = "SELECT pgaudit.note_delivery('siem', %s, %s, %s, %s, %s, %s, %s, %s)"
DELIVERED = ("delivered", 0, 9, 10, 0, 1_000, 1, None)


@pytest.fixture
def conn(dsn: str) -> psycopg.Connection:
    """A transaction with a stream that has sent the first ten events."""
    conn = psycopg.connect(dsn)
    streams.add(conn, "siem", to="file:/nowhere", start=None)
    conn.execute(NOTE, DELIVERED)
    return conn


def noted(conn: psycopg.Connection, *delivery: object) -> list[Delivery]:
    """Returns the history with another delivery, the oldest first."""
    with conn:
        conn.execute(NOTE, [*delivery, None][:8])
        return streams.deliveries(conn, "siem")[::-1]


def test_chunks_of_a_minute_are_one_row(conn: psycopg.Connection) -> None:
    """With the sums of their events, bytes and seconds; events between them that did not match do not matter."""
    (one,) = noted(conn, "delivered", 20, 29, 5, 0, 500, 1)
    assert (one.from_index, one.to_index, one.events, one.bytes, one.chunks) == (0, 29, 15, 1_500, 2)
    assert one.seconds >= (one.ended_at - one.started_at).total_seconds()


def test_a_replay_between_chunks_does_not_divide_the_row(conn: psycopg.Connection) -> None:
    """Nor do events that are left out: each kind has a row of the minute."""
    for index in range(10, 50, 2):
        conn.execute(NOTE, ("delivered", index, index, 1, 0, 100, 1, None))
        conn.execute(NOTE, ("replayed", index - 10, index - 10, 1, 0, 100, 1, None))
        conn.execute(NOTE, ("skipped", index + 1, index + 1, 1, 0, 0, 1, "too old"))
    with conn:
        rows = [(one.status, one.events) for one in streams.deliveries(conn, "siem")[::-1]]
    assert rows == [("delivered", 30), ("replayed", 20), ("skipped", 20)]


def test_a_failure_divides_the_row(conn: psycopg.Connection) -> None:
    """So that the newest row says what was last."""
    conn.execute("SELECT pgaudit.note_stream_failure('siem', 10, 1, '503', '1 s')")
    assert [one.status for one in noted(conn, "delivered", 10, 19, 10, 0, 500, 1)] == [
        "delivered",
        "failed",
        "delivered",
    ]


def test_the_next_minute_has_a_row_of_its_own(conn: psycopg.Connection) -> None:
    """So that pictures show when events were sent."""
    conn.execute("UPDATE pgaudit.delivery SET started_at = started_at - interval '1 minute'")
    assert [one.events for one in noted(conn, "delivered", 10, 19, 7, 0, 500, 1)] == [10, 7]


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param(("delivered", 10, 19, 8, 2, 500, 1), id="it has parked events"),
        pytest.param(("delivered", 10, 19, 10, 0, 500, 2), id="it was tried twice"),
        pytest.param(("replayed", 10, 19, 10, 0, 500, 1), id="it was sent again"),
        pytest.param(("delivered", 10, 19, 10, 0, 500, 1, "why"), id="it has an error"),
        pytest.param(("delivered", 5, 19, 10, 0, 500, 1), id="its range overlaps"),
    ],
)
def test_what_is_special_has_a_row_of_its_own(conn: psycopg.Connection, delivery: tuple[object, ...]) -> None:
    """Also within a minute."""
    assert [one.to_index for one in noted(conn, *delivery)] == [9, 19]


def test_rate_counts_whole_minutes(dsn: str) -> None:
    """The rate of a stream is that of the minutes that have begun within the last five."""
    append(dsn, 60)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        ship(dsn, "siem", Receiver())
        rate = streams.get_stream(conn, "siem").events_per_second
        assert 60 / 360 <= rate <= 60 / 300
        conn.execute("UPDATE pgaudit.delivery SET started_at = started_at - interval '7 minutes'")
        assert streams.get_stream(conn, "siem").events_per_second == 0


def test_a_slow_chunk_is_left_half_done(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that refuses parts and is slow does not lock the stream for long: what is done is noted."""
    append(dsn, 8)
    monkeypatch.setattr("pgaudit.streams.sending.LONGEST_SECONDS", 0.05)
    receiver = Receiver(poison={1}, seconds=0.03)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        ship(dsn, "siem", receiver)
        found = streams.get_stream(conn, "siem")
    assert 0 < found.next_index < 8
    assert "it takes minutes" in (found.error or "")
    ship_the_rest(dsn, receiver)
    assert sorted(set(receiver.taken)) == [0, *range(2, 8)]
    assert len(receiver.taken) == 7


def ship_the_rest(dsn: str, receiver: Receiver) -> None:
    """Sends what is left, with as many attempts as it takes."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for _ in range(20):
            ship(dsn, "siem", receiver)
        assert streams.get_stream(conn, "siem").lag_events == 0


def test_a_halted_worker_loses_its_lock(dsn: str) -> None:
    """The server ends its transaction, however long it is halted; a session without the lock is left alone."""
    append(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        due = positions.look(conn, "siem")
        assert due is not None
        with conn.transaction():
            assert positions.lock(conn, due)
            assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10min",)
        assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)


def test_failures_are_rows_of_their_own(dsn: str) -> None:
    """Each attempt that fails is in the history, with its error."""
    append(dsn, 3)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        conn.commit()
        for _ in range(3):
            ship(dsn, "siem", Receiver(failure=DeliveryFailed("503")))
        assert [(one.status, one.attempts) for one in streams.deliveries(conn, "siem")] == [
            ("failed", 3),
            ("failed", 2),
            ("failed", 1),
        ]


def test_history_is_kept_for_30_days(conn: psycopg.Connection) -> None:
    """Workers delete what is older, and a worker's role cannot delete more."""
    conn.execute("UPDATE pgaudit.delivery SET started_at = now() - interval '31 days'")
    conn.execute(NOTE, ("delivered", 10, 19, 7, 0, 700, 1, None))
    conn.execute("UPDATE pgaudit.delivery SET started_at = now() - interval '29 days' WHERE from_index = 10")
    with conn:
        assert conn.execute("SELECT pgaudit.prune_deliveries()").fetchone() == (1,)
        assert [one.from_index for one in streams.deliveries(conn, "siem")] == [10]


def test_a_chunk_of_which_every_event_was_refused_is_parked(dsn: str) -> None:
    """Nothing was delivered, so the history does not say so."""
    append(dsn, 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=0)
        ship(dsn, "siem", Receiver(poison={0, 1}))
        (one,) = streams.deliveries(conn, "siem")
    assert (one.status, one.events, one.parked) == ("parked", 0, 2)
