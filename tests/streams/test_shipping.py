"""A stream moves when the destination has accepted events, and not before; what is refused blocks nothing newer."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, grants, signals, streams
from pgaudit.streams import positions
from pgaudit.streams.destinations.destination import Limits
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.shipping import Shipper
from pgaudit.testing import run_worker_once
from pgaudit.trail import Entry
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.roles import temporary_roles
from tests.support.streams import Receiver, append, send_all, ship

FILE = "file:/nowhere"


@pytest.fixture
def stream(dsn: str) -> str:
    """A stream from the beginning of the log."""
    with psycopg.connect(dsn) as conn:
        return streams.add(conn, "siem", to=FILE, start=0).name


def found(dsn: str) -> streams.Stream:
    """Returns the stream as people see it."""
    with psycopg.connect(dsn) as conn:
        return streams.get_stream(conn, "siem")


def parked(dsn: str) -> dict[int, int | None]:
    """Returns what is parked, each with the index that it waits behind."""
    with psycopg.connect(dsn) as conn:
        return {one.index: one.behind for one in streams.parked(conn, "siem")}


def statuses(dsn: str) -> list[str]:
    """Returns the history of the stream, the oldest first."""
    with psycopg.connect(dsn) as conn:
        return [delivery.status for delivery in reversed(streams.deliveries(conn, "siem"))]


def record_about(dsn: str, *claims: int) -> None:
    """Appends an event about each of these claims, in that order."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(
            conn, *(AuditEvent(action="claim.approved", target=f"claim:{claim}") for claim in claims)
        )
        conn.commit()
        run_worker_once(conn)


def test_all_events_in_order(dsn: str, stream: str) -> None:
    """Each event of the log is sent once, in its order, in chunks of the destination's size."""
    append(dsn, 25)
    receiver = Receiver(limits=Limits(events=10))
    ship(dsn, stream, receiver)
    assert receiver.taken == list(range(25))
    assert receiver.chunks == [10, 10, 5]
    assert found(dsn).lag_events == 0


def test_limit_of_bytes(dsn: str, stream: str) -> None:
    """A chunk has no more bytes than the destination takes, but one event at least."""
    append(dsn, 4)
    receiver = Receiver(limits=Limits(bytes=1))
    ship(dsn, stream, receiver)
    assert receiver.taken == [0, 1, 2, 3]
    assert receiver.chunks == [1, 1, 1, 1]


def test_only_what_matches(dsn: str) -> None:
    """A stream with a query gets what it finds, and moves past the rest without a delivery."""
    append(dsn, 20)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=FILE, query="target:claim:7", start=0)
    receiver = Receiver()
    ship(dsn, "siem", receiver)
    assert receiver.taken == [7]
    assert found(dsn).next_index == 20
    append(dsn, 3)
    ship(dsn, "siem", receiver)
    assert (found(dsn).next_index, statuses(dsn)) == (23, ["delivered"])


def test_failure_moves_nothing(dsn: str, stream: str) -> None:
    """What a destination does not take now is sent again; the history has the attempt and its error."""
    append(dsn, 3)
    receiver = Receiver(failure=DeliveryFailed("it answers 503"))
    ship(dsn, stream, receiver)
    assert (found(dsn).next_index, found(dsn).state, found(dsn).error) == (0, "failing", "it answers 503")
    receiver.failure = None
    ship(dsn, stream, receiver)
    assert receiver.taken == [0, 1, 2]
    assert statuses(dsn) == ["failed", "delivered"]
    assert found(dsn).state == "active"


def test_a_message_that_postgres_cannot_store_is_noted(dsn: str, stream: str) -> None:
    """A receiver whose answer has NUL, half a character or a line break does not keep the failure from being noted."""
    append(dsn, 1)
    receiver = Receiver(failure=DeliveryFailed("busy\0\ud800\nthe stream other is paused"))
    ship(dsn, stream, receiver)
    with psycopg.connect(dsn) as conn:
        found = streams.get_stream(conn, stream)
    assert (found.state, found.error) == ("failing", "busy   the stream other is paused")


def test_backoff_doubles(dsn: str, stream: str) -> None:
    """Each failed attempt doubles the wait, with jitter of a fifth; a destination may ask for more."""
    append(dsn, 1)
    settings = Settings(dsn=dsn, job_backoff_delay=1_000, job_backoff_max=8_000)
    waits = []
    for number in range(6):
        receiver = Receiver(failure=DeliveryFailed("no", retry_after=60.0 if number == 5 else None))
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("UPDATE pgaudit.stream_position SET next_attempt_at = '-infinity'")
            before = datetime.now(UTC)
            ship(dsn, stream, receiver, settings)
        next_attempt = found(dsn).next_attempt_at
        assert next_attempt is not None
        waits.append((next_attempt - before).total_seconds())
    for wait, expected in zip(waits, [1, 2, 4, 8, 8], strict=False):
        assert 0.8 * expected <= wait <= 1.2 * expected + 1
    assert 60 <= waits[5] <= 61


def test_nothing_is_sent_before_the_next_attempt(dsn: str, stream: str) -> None:
    """A stream that waits for its next attempt is not due."""
    append(dsn, 1)
    ship(dsn, stream, Receiver(failure=DeliveryFailed("no")), Settings(dsn=dsn, job_backoff_delay=60_000))
    receiver = Receiver()
    ship(dsn, stream, receiver)
    assert receiver.taken == []


def test_part_of_a_chunk(dsn: str, stream: str) -> None:
    """What a destination has answered before it failed is not sent again."""

    class Breaking(Receiver):
        def send(self, entries: Sequence[Entry]) -> Receipt:
            if not self.taken:
                self.taken += [0, 1]
                raise DeliveryFailed("gone", done=3, receipt=Receipt(10, refused={2: "bad"}))
            return super().send(entries)

    append(dsn, 5)
    receiver = Breaking()
    ship(dsn, stream, receiver)
    assert (found(dsn).next_index, found(dsn).state, list(parked(dsn))) == (3, "failing", [2])
    ship(dsn, stream, receiver)
    assert receiver.taken == [0, 1, 3, 4]


def test_poison_is_parked_alone(dsn: str, stream: str) -> None:
    """Of a chunk that is refused as a whole, the one bad event is found and parked; all others are sent in order."""
    append(dsn, 100)
    receiver = Receiver(poison={17, 18, 99})
    ship(dsn, stream, receiver)
    assert receiver.taken == [index for index in range(100) if index not in {17, 18, 99}]
    assert parked(dsn) == {17: None, 18: None, 99: None}
    assert found(dsn).next_index == 100


def test_parked_event_is_retried(dsn: str, stream: str) -> None:
    """A parked event is sent again when someone asks for it, and is parked no longer once it is accepted."""
    append(dsn, 3)
    receiver = Receiver(poison={1})
    ship(dsn, stream, receiver)
    with psycopg.connect(dsn) as conn:
        assert streams.retry(conn, stream) == 1
    ship(dsn, stream, receiver)
    assert parked(dsn) == {1: None}
    receiver.poison.clear()
    with psycopg.connect(dsn) as conn:
        assert streams.retry(conn, stream, 1) == 1
    ship(dsn, stream, receiver)
    assert (receiver.taken, parked(dsn)) == ([0, 2, 1], {})


def test_parked_event_is_discarded(dsn: str, stream: str) -> None:
    """A parked event can be given up; the history says who did, and why."""
    append(dsn, 2)
    ship(dsn, stream, Receiver(poison={1}))
    with psycopg.connect(dsn) as conn:
        assert streams.discard(conn, stream, 1, "of no use there")
        assert not streams.discard(conn, stream, 1, "again")
        (newest, *_) = streams.deliveries(conn, stream)
    assert (newest.status, newest.from_index, newest.error) == ("discarded", 1, "of no use there, by postgres")


def test_refusing_everything_pauses(dsn: str, stream: str) -> None:
    """A destination that refuses every event of a large chunk is at fault: the stream is paused, nothing is parked."""
    append(dsn, 150)
    ship(dsn, stream, Receiver(poison=set(range(150))))
    assert (found(dsn).state, found(dsn).pause_kind, found(dsn).next_index, parked(dsn)) == ("paused", "refused", 0, {})


def test_refusal_of_the_destination_pauses(dsn: str, stream: str) -> None:
    """A wrong token pauses the stream and is told; nothing is lost, and it goes on when someone resumes it."""
    told = []
    append(dsn, 2)
    with signals.stream_paused.connected_to(lambda _, **details: told.append(details)):
        ship(dsn, stream, Receiver(failure=DestinationRefused("the token is wrong")))
    assert told == [{"stream": "siem", "kind": "refused", "reason": "the token is wrong"}]
    receiver = Receiver()
    ship(dsn, stream, receiver)
    assert receiver.taken == []
    with psycopg.connect(dsn) as conn:
        streams.resume(conn, stream)
    ship(dsn, stream, receiver)
    assert receiver.taken == [0, 1]


def test_lasting_failure_pauses(dsn: str, stream: str) -> None:
    """A destination that has failed for longer than the setting says pauses its stream."""
    append(dsn, 1)
    failing = Receiver(failure=DeliveryFailed("no route"))
    ship(dsn, stream, failing)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET failing_since = %s", [datetime.now(UTC) - timedelta(days=4)])
    ship(dsn, stream, failing)
    assert (found(dsn).state, found(dsn).pause_kind, found(dsn).pause_reason) == ("paused", "failing", "no route")
    assert found(dsn).paused_by == "worker"


def test_order_of_a_target(dsn: str) -> None:
    """In an ordered stream, later events of a target wait behind a refused one; those of other targets do not."""
    record_about(dsn, 1, 2, 1, 3, 1)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=FILE, ordered=True, start=0)
    receiver = Receiver(poison={0})
    ship(dsn, "siem", receiver)
    assert (receiver.taken, parked(dsn)) == ([1, 3], {0: None, 2: 0, 4: 0})
    record_about(dsn, 1, 4)
    ship(dsn, "siem", receiver)
    assert (receiver.taken, parked(dsn)) == ([1, 3, 6], {0: None, 2: 0, 4: 0, 5: 0})
    receiver.poison.clear()
    with psycopg.connect(dsn) as conn:
        streams.retry(conn, "siem")
    for _ in range(4):
        ship(dsn, "siem", receiver)
    assert (receiver.taken, parked(dsn)) == ([1, 3, 6, 0, 2, 4, 5], {})


def test_order_after_a_failure(dsn: str) -> None:
    """What waits behind a refused event when the destination fails is parked once, and none is sent before it."""
    record_about(dsn, 1, 1, 2, 2)

    class Failing(Receiver):
        def send(self, entries: Sequence[Entry]) -> Receipt:
            if entries[0].index >= 2 and self.failure is None:
                self.failure = DeliveryFailed("no")
            return super().send(entries)

    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to=FILE, ordered=True, start=0)
    receiver = Failing(poison={0})
    ship(dsn, "siem", receiver)
    receiver.failure = None
    assert (receiver.taken, found(dsn).next_index) == ([], 2)
    ship(dsn, "siem", Receiver(taken=receiver.taken))
    assert (receiver.taken, parked(dsn)) == ([2, 3], {0: None, 1: 0})
    record_about(dsn, 2, 1)
    ship(dsn, "siem", Receiver(failure=DeliveryFailed("no")))
    assert (found(dsn).next_index, parked(dsn)) == (4, {0: None, 1: 0})


def test_two_workers(dsn: str, stream: str) -> None:
    """While one worker sends, another one has nothing to do; and what it saw before is not sent twice."""
    append(dsn, 3)
    one, other = Receiver(), Receiver()
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        seen = positions.look(second, stream)
        due = positions.look(first, stream)
        assert seen is not None
        assert due is not None
        with first.transaction():
            assert positions.lock(first, due)
            assert positions.look(second, stream) is None
            assert not Shipper(second, other, Settings(dsn=dsn)).ship(seen)
        Shipper(first, one, Settings(dsn=dsn)).ship(due)
        Shipper(second, other, Settings(dsn=dsn)).ship(seen)
    assert (one.taken, other.taken) == ([0, 1, 2], [])


def test_two_workers_with_a_parked_event(dsn: str, stream: str) -> None:
    """While one worker sends, another one does not send a parked event that is retried."""
    append(dsn, 1)
    ship(dsn, stream, Receiver(poison={0}))
    other = Receiver()
    with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
        streams.retry(first, stream)
        due = positions.look(first, stream)
        assert due is not None
        with first.transaction():
            assert positions.lock(first, due)
            assert not Shipper(second, other, Settings(dsn=dsn)).ship(due)
        assert other.taken == []
        Shipper(second, other, Settings(dsn=dsn)).ship(due)
    assert (other.taken, parked(dsn)) == ([0], {})


def test_pause_while_sending(dsn: str, stream: str) -> None:
    """A pause does not wait for a slow destination, and takes effect before the next chunk."""
    append(dsn, 3)

    class Slow(Receiver):
        def send(self, entries: Sequence[Entry]) -> Receipt:
            with psycopg.connect(dsn) as conn:
                conn.execute("SET statement_timeout = '3s'")
                streams.pause(conn, "siem", "maintenance")
            return super().send(entries)

    receiver = Slow(limits=Limits(events=1))
    ship(dsn, stream, receiver)
    assert receiver.taken == [0]
    assert (found(dsn).state, found(dsn).pause_reason) == ("paused", "maintenance")


def test_rewind_sends_again(dsn: str, stream: str) -> None:
    """A stream that is rewound sends the range again; what was parked in it comes again with it."""
    append(dsn, 5)
    receiver = Receiver(poison={3})
    ship(dsn, stream, receiver)
    with psycopg.connect(dsn) as conn:
        streams.rewind(conn, stream, 2)
    assert parked(dsn) == {}
    ship(dsn, stream, receiver)
    assert (receiver.taken, parked(dsn)) == ([0, 1, 2, 4, 2, 4], {3: None})


def test_log_of_an_older_backup(dsn: str, stream: str) -> None:
    """A stream whose last event is not the one in the log is paused with the reason, and sends nothing."""
    append(dsn, 5)
    ship(dsn, stream, Receiver())
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET last_hash = '\\x00'")
    append(dsn, 1)
    receiver = Receiver()
    ship(dsn, stream, receiver)
    assert (receiver.taken, found(dsn).state, found(dsn).pause_kind) == ([], "paused", "mismatch")
    assert "older backup" in (found(dsn).pause_reason or "")


def test_position_beyond_the_log(dsn: str, stream: str) -> None:
    """A stream that is ahead of the log is paused with the reason."""
    append(dsn, 2)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE pgaudit.stream_position SET next_index = 9")
    ship(dsn, stream, Receiver())
    assert (found(dsn).state, found(dsn).pause_kind) == ("paused", "mismatch")


def test_detaching_a_partition_while_sending(dsn: str, stream: str) -> None:
    """The transaction that waits for a destination has no lock on the log: its partitions can be detached."""
    append(dsn, 1)

    class Watching(Receiver):
        def send(self, entries: Sequence[Entry]) -> Receipt:
            with psycopg.connect(dsn) as conn:
                locks = conn.execute("""
                    SELECT relation::regclass::text FROM pg_locks
                     WHERE locktype = 'relation' AND pid <> pg_backend_pid()
                """).fetchall()
            assert not [name for (name,) in locks if "audit_log" in name], locks
            return super().send(entries)

    receiver = Watching(poison={0})
    ship(dsn, stream, receiver)
    receiver.poison.clear()
    append(dsn, 1)
    with psycopg.connect(dsn) as conn:
        streams.retry(conn, stream)
    ship(dsn, stream, receiver)
    assert receiver.taken == [0, 1]


def test_events_that_were_detached(dsn: str, stream: str) -> None:
    """A stream whose next events have left the log is paused, and says where it can go on; none is left out unseen."""
    with psycopg.connect(dsn) as conn:
        make_small_partitions_and_commit(conn)
    append(dsn, 300)
    with psycopg.connect(dsn, autocommit=True) as conn:
        (partition,) = conn.execute("SELECT partition::text FROM pgaudit.log_partitions() LIMIT 1").fetchall()[0]
        conn.execute(f"ALTER TABLE pgaudit.audit_log DETACH PARTITION {partition} CONCURRENTLY")
    receiver = Receiver()
    ship(dsn, stream, receiver)
    assert (receiver.taken, found(dsn).pause_kind) == ([], "mismatch")
    assert "from index 0 to 255 are no longer in the log" in (found(dsn).pause_reason or "")
    with psycopg.connect(dsn) as conn:
        streams.rewind(conn, stream, 256)
        streams.resume(conn, stream)
        assert streams.add(conn, "fresh", to=FILE, start=0).next_index == 256
    ship(dsn, stream, receiver)
    assert receiver.taken[:44] == list(range(256, 300))


def test_policies_that_hide_events(dsn: str, stream: str) -> None:
    """A worker that may not see all events leaves none of them out: the stream is paused, with the remedy."""
    append(dsn, 4)
    with temporary_roles(dsn, "stream_worker"):
        with psycopg.connect(dsn) as conn:
            grants.grant(conn, worker="stream_worker")
            conn.execute("ALTER TABLE pgaudit.audit_log ENABLE ROW LEVEL SECURITY")
            conn.execute("CREATE POLICY few ON pgaudit.audit_log FOR SELECT USING (index <> 2)")
        receiver = Receiver()
        ship(f"{dsn} user=stream_worker", stream, receiver)
        assert (receiver.taken, found(dsn).pause_kind) == ([], "mismatch")
        assert "hides 1 event(s) of the log from stream_worker" in (found(dsn).pause_reason or "")
        with psycopg.connect(dsn) as conn:
            conn.execute("CREATE POLICY all_of_them ON pgaudit.audit_log FOR SELECT TO stream_worker USING (true)")
            streams.resume(conn, stream)
        ship(f"{dsn} user=stream_worker", stream, receiver)
        assert receiver.taken[:4] == [0, 1, 2, 3]


def test_a_secret_that_this_worker_lacks(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose secret is not set fails and is tried again: another worker may have it."""
    append(dsn, 1)
    monkeypatch.delenv("ABSENT", raising=False)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to="https://siem.example.com/?secret=env:ABSENT", start=0)
    send_all(dsn, "siem")
    assert (found(dsn).state, found(dsn).error) == ("failing", "the secret env:ABSENT is not set where the worker runs")
