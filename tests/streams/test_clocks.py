"""Clocks that jump by hours: streams wait for no time that has passed, and no days that were not tried pause them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.streams.destinations import parquet
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from tests.streams.forms.events import ENTRIES
from tests.support.queries import value_in
from tests.support.streams import Receiver, append, send_all, ship
from tests.support.tampering import tamper

FAILING = DeliveryFailed("no route")
# As if the clock had been set back by that much: all that was noted was noted that much later.
SET_BACK = (
    "UPDATE pgaudit.stream_position SET next_attempt_at = next_attempt_at + {0}, failing_since = failing_since + {0}",
    "UPDATE pgaudit.delivery SET started_at = started_at + {0}, ended_at = ended_at + {0}",
    "UPDATE pgaudit.stream_replay SET next_attempt_at = next_attempt_at + {0}",
)


@pytest.fixture
def stream(dsn: str) -> str:
    """A stream with three events to send."""
    append(dsn, 3)
    with psycopg.connect(dsn) as conn:
        return streams.add(conn, "siem", to="file:/nowhere", start=0).name


def set_back(dsn: str, hours: int = 5) -> None:
    """Lets the past be as if the clock had been set back since."""
    with psycopg.connect(dsn) as conn:
        for statement in SET_BACK:
            conn.execute(statement.format(f"interval '{hours} hours'"))


def found(dsn: str) -> streams.Stream:
    """Returns the stream as people see it."""
    with psycopg.connect(dsn) as conn:
        return streams.get_stream(conn, "siem")


def failing_seconds(dsn: str) -> float:
    """Returns for how long the stream has failed."""
    return float(
        value_in(dsn, "SELECT extract(epoch FROM clock_timestamp() - failing_since) FROM pgaudit.stream_stats")
    )


def test_a_clock_that_is_set_back_does_not_put_off_the_next_attempt(dsn: str, stream: str) -> None:
    """What is noted for a time that comes again is due at once; what fails then waits as long as ever."""
    patient = Settings(dsn=dsn, job_backoff_delay=60_000)
    ship(dsn, stream, Receiver(failure=FAILING), patient)
    receiver = Receiver()
    ship(dsn, stream, receiver)
    assert receiver.taken == []
    set_back(dsn)
    ship(dsn, stream, Receiver(failure=FAILING), patient)
    assert found(dsn).attempts == 2
    ship(dsn, stream, receiver)
    assert receiver.taken == []
    set_back(dsn)
    ship(dsn, stream, receiver)
    assert (receiver.taken, found(dsn).state) == ([0, 1, 2], "active")


def test_a_clock_that_is_set_back_does_not_put_off_a_replay(dsn: str, tmp_path: Path) -> None:
    """The same for a range that is sent again."""
    append(dsn, 3)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=f"file:{tmp_path}/out", start=0)
    send_all(dsn, "siem")
    with psycopg.connect(dsn) as conn:
        streams.replay(conn, "siem", 0, 1)
        conn.execute("SELECT pgaudit.note_replay_failure('siem', 'no', '1 minute')")
    send_all(dsn, "siem")
    assert found(dsn).replay_next == 0
    set_back(dsn)
    send_all(dsn, "siem")
    assert found(dsn).replay_next is None


def test_days_that_were_not_tried_do_not_pause_a_stream(dsn: str, stream: str) -> None:
    """No worker has run, or the clock was set forward: the destination has not failed for as long."""
    receiver = Receiver(failure=FAILING)
    ship(dsn, stream, receiver)
    set_back(dsn, hours=-96)
    ship(dsn, stream, receiver)
    assert (found(dsn).state, found(dsn).attempts) == ("failing", 2)
    assert failing_seconds(dsn) < 60


def test_a_failure_that_begins_in_the_future_begins_now(dsn: str, stream: str) -> None:
    """After the clock was set back, the patience is as long as it was."""
    receiver = Receiver(failure=FAILING)
    ship(dsn, stream, receiver)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET failing_since = now() + interval '9 days'")
    ship(dsn, stream, receiver)
    assert 0 <= failing_seconds(dsn) < 60
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET failing_since = now() - interval '4 days'")
    ship(dsn, stream, receiver)
    assert (found(dsn).state, found(dsn).pause_kind) == ("paused", "failing")


def test_parquet_does_not_wait_for_an_hour_of_the_future(tmp_path: Path) -> None:
    """Events of a wrong clock, a year ahead, are written when it was set back; a clock that differs a little waits."""
    destination = parquet.open_destination(Request("archive", StreamURL.parse(f"parquet:{tmp_path}")))
    now = datetime(2026, 11, 27, 8, 15, tzinfo=UTC)
    for ahead, count in ((timedelta(days=365), 1), (timedelta(hours=5), 1), (timedelta(minutes=2), 0)):
        assert destination.ready([replace(ENTRIES[0], persisted_at=now + ahead)], now, is_full=False) == count
    assert not destination.is_waiting(1, now + timedelta(hours=1))


def test_a_report_does_not_wait_for_a_day_of_the_future(dsn: str, tmp_path: Path) -> None:
    """Events of a wrong clock, a year ahead, are reported when it was set back; each event is in one report."""
    append(dsn, 3)
    add_day(dsn, datetime.now(UTC) + timedelta(days=365), 2)
    add_day(dsn, datetime.now(UTC) - timedelta(days=2), 2)
    add_day(dsn, datetime.now(UTC) + timedelta(minutes=30), 2)  # a day that is not over
    with psycopg.connect(dsn) as conn:
        tamper(conn, "UPDATE pgaudit.batch SET persisted_at = now() - interval '3 days' WHERE first_index = 0")
        streams.add(conn, "siem", to=f"report+file:{tmp_path}/out", start=0)
    send_all(dsn, "siem")
    names = sorted(path.name.rpartition("_")[2] for path in (tmp_path / "out").glob("*.csv"))
    assert names == ["0-2.csv", "3-4.csv", "5-6.csv"]
    assert (found(dsn).next_index, found(dsn).delivered) == (7, 7)


def add_day(dsn: str, moment: datetime, count: int) -> None:
    """Appends events as if it was that moment."""
    append(dsn, count)
    with psycopg.connect(dsn) as conn:
        tamper(
            conn,
            f"UPDATE pgaudit.batch SET persisted_at = '{moment.isoformat()}'"
            " WHERE first_index = (SELECT max(first_index) FROM pgaudit.batch)",
        )
