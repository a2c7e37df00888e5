"""A stream to Kafka: in the order of each target, and what was published already is not published again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from confluent_kafka import KafkaError, KafkaException, Producer
from psycopg.conninfo import conninfo_to_dict

from pgaudit import AuditEvent, AuditLog, Settings, streams
from pgaudit._reading import run
from pgaudit.errors import InvalidStream
from pgaudit.streams import positions
from pgaudit.streams.destinations import kafka as kafka_destination
from pgaudit.streams.destinations.kafka import Topic, open_destination
from pgaudit.streams.destinations.kafka_client import connection_options
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from pgaudit.testing import run_worker_once
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.trail.entry import Entry, at
from tests.support.kafka import INIT_PRODUCER_ID, Kafka, kafka_brokers, tls_listener
from tests.support.streams import append, send_all
from tests.support.waiting import wait_until

AT_ONCE = Settings(job_backoff_delay=0)


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    """Three brokers; the topic ``audit`` has four partitions."""
    with kafka_brokers() as brokers:
        yield brokers


@pytest.fixture
def siem(dsn: str, kafka: Kafka) -> str:
    """A stream of the log to that topic."""
    with psycopg.connect(dsn) as conn:
        return streams.add(conn, "siem", to=f"kafka://{kafka.place}/audit", start=0, allow_private=True).name


def state(dsn: str) -> streams.Stream:
    """Returns how the stream does."""
    with psycopg.connect(dsn) as conn:
        return streams.get_stream(conn, "siem")


def threads() -> int:
    """Returns the number of threads of this process, with those of the client that Python does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


def entries(dsn: str, *indexes: int) -> list[Entry]:
    """Returns events of the log."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return run(conn, at(list(indexes)))


def publish_and_forget(dsn: str, kafka: Kafka, sent: list[Entry]) -> None:
    """Publishes events as a worker does that dies before it has noted them."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        due = positions.look(conn, "siem")
    assert due is not None
    url = StreamURL.parse(f"kafka://{kafka.place}/audit")
    request = Request(
        "siem", url, allow_private=True, continued=True, started_at=due.started_at, next_index=due.next_index
    )
    topic = open_destination(request)
    topic.send(sent)
    topic.close()


def test_events_of_a_target_are_in_order(dsn: str, siem: str, kafka: Kafka) -> None:
    """Each event is there once. Those of one target are in one partition, in the order of the log."""
    for _ in range(3):
        append(dsn, 20)
    send_all(dsn, siem)
    partitions = kafka.messages()
    assert kafka.indexes() == list(range(60))
    assert sum(bool(partition) for partition in partitions) > 1
    for claim in range(20):
        of_claim = [[index for index, key, _ in partition if key == f"claim:{claim}"] for partition in partitions]
        assert [found for found in of_claim if found] == [[claim, claim + 20, claim + 40]]


def test_headers(dsn: str, siem: str, kafka: Kafka) -> None:
    """Index, leaf hash and id are in headers; an event without a target has no key."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, AuditEvent(action="report.made"))
        conn.commit()
        run_worker_once(conn)
    send_all(dsn, siem)
    (entry,) = entries(dsn, 0)
    (message,) = [message for partition in kafka.messages() for message in partition]
    index, key, headers = message
    assert (index, key) == (0, None)
    assert headers.pop("pgaudit-stream").startswith("siem 20")
    expected = {"index": "0", "leaf-hash": entry.leaf_hash.hex(), "event-id": str(entry.event_id)}
    assert headers == {f"pgaudit-{name}": value for name, value in expected.items()}


def test_worker_that_dies_before_it_has_noted_what_it_sent(dsn: str, siem: str, kafka: Kafka) -> None:
    """The next one finds what the topic has, and publishes the rest."""
    append(dsn, 10)
    send_all(dsn, siem)
    append(dsn, 10)
    publish_and_forget(dsn, kafka, entries(dsn, 10, 11, 12, 14, 17))
    send_all(dsn, siem)
    append(dsn, 1)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(21))
    assert state(dsn).next_index == 21


def test_brokers_are_away(dsn: str, siem: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without brokers the stream waits, and says so; then it goes on where it was."""
    monkeypatch.setattr("pgaudit.streams.destinations.kafka.LOOK_SECONDS", 0.5)
    append(dsn, 10)
    send_all(dsn, siem)
    append(dsn, 10)
    kafka.down(is_down=True)
    send_all(dsn, siem, AT_ONCE)
    assert (state(dsn).state, state(dsn).next_index) == ("failing", 10)
    assert "Kafka does not answer (_" in (state(dsn).error or "")
    kafka.down(is_down=False)
    with psycopg.connect(dsn) as conn:
        streams.resume(conn, siem)
    monkeypatch.undo()
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(20))


def test_brokers_are_away_for_a_moment(dsn: str, siem: str, kafka: Kafka) -> None:
    """What the producer sends again by itself, because the answer was lost, is there once."""
    append(dsn, 10)
    send_all(dsn, siem)
    append(dsn, 500)
    kafka.fail(*[KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT] * 2)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(510))


def test_some_events_are_not_taken(dsn: str, kafka: Kafka) -> None:
    """A broker that does not store some events fails the delivery; the next attempt publishes those alone."""
    append(dsn, 40)
    topic = open_destination(Request("siem", StreamURL.parse(f"kafka://{kafka.place}/audit"), allow_private=True))
    sent = entries(dsn, *range(40))
    kafka.fail(KafkaError.POLICY_VIOLATION)
    with pytest.raises(DeliveryFailed, match="POLICY_VIOLATION") as caught:
        topic.send(sent)
    there = kafka.indexes()
    assert 0 < len(there) < 40
    assert caught.value.done == min(set(range(40)) - set(there))
    topic.send(sent[caught.value.done :])
    topic.close()
    assert kafka.indexes() == list(range(40))


def test_event_that_is_too_large_for_the_topic(dsn: str, siem: str, kafka: Kafka) -> None:
    """Such an event is parked. Those that were refused in one batch with it are published, and none twice."""
    append(dsn, 1)
    send_all(dsn, siem)
    with psycopg.connect(dsn) as conn:
        few = [AuditEvent(action="claim.noted", target="claim:1") for _ in range(4)]
        AuditLog(Settings(dsn=dsn)).record(conn, *few)
        conn.commit()
        run_worker_once(conn)
    kafka.fail(*[KafkaError.MSG_SIZE_TOO_LARGE] * 3)  # of the chunk, of its first half, of the first event
    send_all(dsn, siem)
    with psycopg.connect(dsn) as conn:
        (parked,) = streams.parked(conn, siem)
    assert parked.index == 1
    assert "MSG_SIZE_TOO_LARGE" in (parked.error or "")
    assert kafka.indexes() == [0, 2, 3, 4]
    with psycopg.connect(dsn) as conn:
        streams.retry(conn, siem)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(5))


def test_no_right_to_write(dsn: str, siem: str, kafka: Kafka) -> None:
    """A user without rights on the topic pauses the stream; resumed with rights, it goes on."""
    append(dsn, 5)
    kafka.fail(*[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 9)
    send_all(dsn, siem)
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
    assert "TOPIC_AUTHORIZATION_FAILED" in (state(dsn).pause_reason or "")
    kafka.answer()
    with psycopg.connect(dsn) as conn:
        streams.resume(conn, siem)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(5))


def test_producer_is_idempotent(dsn: str, siem: str, kafka: Kafka) -> None:
    """A user without the right to an idempotent producer, which old brokers ask for, pauses the stream."""
    append(dsn, 5)
    kafka.fail(*[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 9, request=INIT_PRODUCER_ID)
    send_all(dsn, siem)
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
    assert kafka.indexes() == []
    kafka.answer()
    with psycopg.connect(dsn) as conn:
        streams.resume(conn, siem)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(5))


def test_a_fatal_error_may_come_again_when_the_producer_is_closed(
    dsn: str, siem: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is noted with the stream, though the client may say no more than that the error is fatal."""

    class Fatal(Producer):
        def close(self) -> bool:
            super().close()
            raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "again", fatal=True))

    monkeypatch.setattr(kafka_destination, "Producer", Fatal)
    append(dsn, 5)
    kafka.fail(*[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 9, request=INIT_PRODUCER_ID)
    send_all(dsn, siem)
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")


def test_log_of_an_older_backup(dsn: str, siem: str, kafka: Kafka, server: Server) -> None:
    """A log that was restored, and has gone on otherwise, is noticed; nothing of it is published."""
    append(dsn, 5)
    send_all(dsn, siem)
    with fresh_database(server, template=str(conninfo_to_dict(dsn)["dbname"])) as backup:
        append(dsn, 5)
        send_all(dsn, siem)
        append(backup.dsn, 7)
        send_all(backup.dsn, siem)
        found = state(backup.dsn)
    assert (found.state, found.pause_kind) == ("paused", "refused")
    assert "another event at index" in (found.pause_reason or "")
    assert kafka.indexes() == list(range(10))


def test_log_of_a_much_older_backup(dsn: str, siem: str, kafka: Kafka, server: Server) -> None:
    """It is noticed also if the topic is further ahead than a worker that died can have left it."""
    append(dsn, 5)
    send_all(dsn, siem)
    with fresh_database(server, template=str(conninfo_to_dict(dsn)["dbname"])) as backup:
        append(dsn, 12_000)
        send_all(dsn, siem)
        append(backup.dsn, 1)
        send_all(backup.dsn, siem)
        found = state(backup.dsn)
    assert (found.state, found.pause_kind) == ("paused", "refused")
    assert "more than 4000 events from index 5 on" in (found.pause_reason or "")
    assert len(kafka.indexes()) == 12_005


def test_set_back_on_purpose(dsn: str, siem: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was rewound publishes again, also if it is reopened meanwhile."""
    monkeypatch.setattr(Topic, "limits", replace(Topic.limits, events=4))
    append(dsn, 30)
    send_all(dsn, siem)
    with psycopg.connect(dsn) as conn:
        streams.rewind(conn, siem, 10)
    send_all(dsn, siem)
    assert kafka.indexes() == sorted([*range(30), *range(10, 30)])


def test_parked_event_is_sent_long_after(dsn: str, siem: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is behind the position: what the topic has got since is no sign of an older backup."""
    monkeypatch.setattr("pgaudit.streams.destinations.kafka.MOST_EVENTS", 3)
    append(dsn, 1)
    kafka.fail(KafkaError.MSG_SIZE_TOO_LARGE)
    send_all(dsn, siem)
    append(dsn, 40)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(1, 41))
    with psycopg.connect(dsn) as conn:
        streams.retry(conn, siem)
    send_all(dsn, siem)
    assert kafka.indexes() == list(range(41))
    assert state(dsn).state == "active"


def test_replay(dsn: str, siem: str, kafka: Kafka) -> None:
    """A range is published again when someone asks for it, and the stream goes on."""
    append(dsn, 30)
    send_all(dsn, siem)
    with psycopg.connect(dsn) as conn:
        streams.replay(conn, siem, 5, 9)
    send_all(dsn, siem)
    append(dsn, 5)
    send_all(dsn, siem)
    assert kafka.indexes() == sorted([*range(36), *range(5, 10)])  # 30 says that it was replayed


def test_messages_of_others_in_the_topic(dsn: str, siem: str, kafka: Kafka) -> None:
    """What others have published to the topic is left alone."""
    append(dsn, 3)
    send_all(dsn, siem)
    other = Producer({"bootstrap.servers": kafka.place, "log_level": 0})
    other.produce("audit", b'{"index": 99}', headers={"pgaudit-index": "none"})
    other.flush(10)
    append(dsn, 1)
    send_all(dsn, siem)
    assert kafka.indexes() == [0, 1, 2, 3, 99]


def options(query: str) -> dict[str, Any]:
    """Returns how a stream with such a URL connects."""
    return connection_options(Request("siem", StreamURL.parse(query)))


def test_user_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a user the client authenticates with SASL; the password comes from its reference."""
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authorities)
    user = "user=pgaudit&password=env:KAFKA_PASSWORD&mechanism=PLAIN"
    found = options(f"kafka+tls://b:9093/audit?{user}&ca={authorities}")
    expected = {
        "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "pgaudit",
        "sasl.password": "hunter2", "ssl.ca.location": str(authorities),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert options("kafka://b:9092/audit")["security.protocol"] == "PLAINTEXT"
    assert options("kafka+tls://b:9092/audit")["security.protocol"] == "SSL"


def test_user_is_not_let_in(dsn: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not accept user and password pauses the stream; the password is in no message."""
    monkeypatch.setattr("pgaudit.streams.destinations.kafka.LOOK_SECONDS", 1)
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    append(dsn, 1)
    with psycopg.connect(dsn) as conn:
        to = f"kafka://{kafka.place}/audit?user=pgaudit&password=env:KAFKA_PASSWORD"
        streams.add(conn, "siem", to=to, start=0, allow_private=True)
    send_all(dsn, "siem")
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
    assert "user, password and mechanism" in (state(dsn).pause_reason or "")
    assert "hunter2" not in repr(state(dsn))


@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificate(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool) -> None:
    """The broker's certificate is checked with the given authority: nothing is sent to another one."""
    monkeypatch.setattr("pgaudit.streams.destinations.kafka.LOOK_SECONDS", 1)
    ours, others = trustme.CA(), trustme.CA()
    (ours if is_trusted else others).cert_pem.write_to_path(tmp_path / "ca.pem")
    append(dsn, 1)
    with tls_listener(ours) as (port, heard):
        with psycopg.connect(dsn) as conn:
            streams.add(
                conn, "siem", to=f"kafka+tls://127.0.0.1:{port}/audit?ca={tmp_path}/ca.pem", start=0, allow_private=True
            )
        send_all(dsn, "siem", AT_ONCE)
        wait_until("the client has connected", lambda: heard)
    assert state(dsn).state == "failing"
    assert any(heard) is is_trusted
    assert ("certificate" in (state(dsn).error or "")) is not is_trusted


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("kafka://b:9092/audit?user=pgaudit", "belong together"),
        ("kafka://b:9092/audit?password=env:KAFKA_PASSWORD", "belong together"),
        ("kafka+tls://b:9092/audit?ca=/nowhere/ca.pem", "ca=/nowhere/ca.pem cannot be used: No such file"),
    ],
)
def test_options_that_cannot_work(query: str, why: str) -> None:
    """They are refused in our words: the client would say that an argument is invalid."""
    with pytest.raises(DestinationRefused, match=why):
        options(query)


def test_url_without_a_topic(dsn: str) -> None:
    """It is refused when the stream is added."""
    with psycopg.connect(dsn) as conn, pytest.raises(InvalidStream, match="write kafka://HOST:9092/TOPIC"):
        streams.add(conn, "siem", to="kafka://b:9092")


def test_other_mechanisms_are_refused(dsn: str) -> None:
    """A mechanism that the client does not have is refused when the stream is added."""
    with psycopg.connect(dsn) as conn, pytest.raises(InvalidStream, match="SCRAM-SHA-512"):
        streams.add(conn, "siem", to="kafka://b:9092/audit?user=u&mechanism=MD5", start=0)


def test_nothing_is_left_running(dsn: str, siem: str, kafka: Kafka) -> None:
    """When the destination is closed, the client's threads end."""
    append(dsn, 5)
    before = threads()
    send_all(dsn, siem)
    wait_until("its threads have ended", lambda: threads() <= before)
    assert kafka.indexes() == list(range(5))
