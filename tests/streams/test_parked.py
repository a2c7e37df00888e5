"""Parked events: however many there are, newer ones are sent as before; what one destination refuses, others get."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.streams import positions
from pgaudit.streams.destinations.destination import Limits
from pgaudit.streams.outcomes import Receipt
from pgaudit.streams.shipping import MOST_RETRIED, Shipper
from pgaudit.trail import Entry
from tests.support.queries import Connection
from tests.support.streams import Receiver, append, ship
from tests.support.watermark import pages

# Half of them wait behind another one of their target; some are tried again tomorrow.
PARK = """
    INSERT INTO pgaudit.parked (stream, index, target, behind, retry_at)
    SELECT 'siem', i, 'claim:' || i / 2, CASE WHEN i % 2 = 1 THEN i - 1 END,
           CASE WHEN i % 1000 = 0 THEN now() + interval '1 day' END
      FROM generate_series(0, 9999) i
"""
ADD_TARGETS = "array(SELECT 'claim:' || i FROM generate_series(4990, 5010) i)"
MOVE = 'SELECT pgaudit.move_stream(\'siem\', 3, NULL, NULL, 1, 1, \'[{"index": 20000, "error": "no"}]\', NULL)'
# What a worker does for each chunk; for one of 21 events, of which 10 are about targets that have a parked one.
# At the end, there is nothing to send.
STATEMENTS = [
    "SELECT * FROM pgaudit.due_streams()",
    "SELECT * FROM pgaudit.look_at_stream('siem')",
    "SELECT * FROM pgaudit.due_parked('siem', 100)",
    f"SELECT * FROM pgaudit.blocked_targets('siem', {ADD_TARGETS})",
    MOVE,
    "SELECT * FROM pgaudit.due_streams()",
]


@dataclass
class Counting(Receiver):
    """A receiver that counts how often it is sent something."""

    sent: int = 0

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Counts it."""
        self.sent += 1
        return super().send(entries)


@pytest.fixture
def stream(dsn: str) -> str:
    """A stream from the beginning of the log, in order of each target."""
    with psycopg.connect(dsn) as conn:
        return streams.add(conn, "siem", to="file:/nowhere", start=0, ordered=True).name


@pytest.mark.usefixtures("stream")
def test_ten_thousand_parked_events_do_not_slow_the_rest(dsn: str, conn: Connection) -> None:
    """What a worker does for a chunk reads about as many pages with them as without."""
    append(dsn, 3)

    def read() -> list[int]:
        with conn.transaction(force_rollback=True):
            return [pages(conn, statement) for statement in STATEMENTS]

    read()  # fills the session's caches
    few = read()
    conn.execute(PARK)
    many = read()
    assert len(conn.execute(STATEMENTS[3]).fetchall()) == 10
    for statement, before, after in zip(STATEMENTS, few, many, strict=True):
        assert after <= before + 40, statement


def test_newer_events_are_sent_while_many_are_tried_again(dsn: str) -> None:
    """Someone retries all of 1,000, which are refused again: before the next chunk, a hundred of them are sent."""
    append(dsn, 1_050)
    with psycopg.connect(dsn, autocommit=True) as conn:
        streams.add(conn, "siem", to="file:/nowhere", start=1_000)
        conn.execute("INSERT INTO pgaudit.parked (stream, index) SELECT 'siem', generate_series(0, 999)")
        assert streams.retry(conn, "siem") == 1_000
        receiver = Counting(poison=set(range(1_000)), limits=Limits(events=10))
        due = positions.look(conn, "siem")
        assert due is not None
        assert Shipper(conn, receiver, Settings(dsn=dsn)).ship(due)
        assert (receiver.taken, receiver.sent) == (list(range(1_000, 1_010)), MOST_RETRIED + 1)


def test_poison_for_one_destination_passes_to_the_others(dsn: str) -> None:
    """What one has refused is parked for it alone; the other one gets all events, in their order."""
    append(dsn, 50)
    receivers = {"siem": Receiver(poison={17}), "archive": Receiver()}
    with psycopg.connect(dsn) as conn:
        for name in receivers:
            streams.add(conn, name, to="file:/nowhere", start=0)
    for name, receiver in receivers.items():
        ship(dsn, name, receiver)
    assert receivers["archive"].taken == list(range(50))
    assert receivers["siem"].taken == [index for index in range(50) if index != 17]
    with psycopg.connect(dsn) as conn:
        assert [parked.index for parked in streams.parked(conn, "siem")] == [17]
        assert streams.parked(conn, "archive") == []
