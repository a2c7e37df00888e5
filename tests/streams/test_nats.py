"""A stream to NATS JetStream: sequence = index + 1, exactly once, whatever happens on the way."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from nats.js import JetStreamContext
from nats.js.errors import APIError
from psycopg.conninfo import conninfo_to_dict

from pgaudit import AuditEvent, AuditLog, Settings, streams
from pgaudit._reading import run
from pgaudit.errors import InvalidStream
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from pgaudit.testing import run_worker_once
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.trail.entry import at
from tests.support.nats import NatsServer, nats_server
from tests.support.streams import append, send_all


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server with JetStream."""
    with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def siem(dsn: str, nats: NatsServer) -> str:
    """A stream of the whole log to that server."""
    with psycopg.connect(dsn) as conn:
        return streams.add(conn, "siem", to=f"nats://{nats.place}?stream=AUDIT", start=0, allow_private=True).name


def state(dsn: str) -> streams.Stream:
    """Returns how the stream does."""
    with psycopg.connect(dsn) as conn:
        return streams.get_stream(conn, "siem")


def indexes(nats: NatsServer) -> list[tuple[int, int]]:
    """Returns sequence and index of each message."""
    return [(sequence, json.loads(data)["index"]) for sequence, _, data in nats.messages("AUDIT")]


def dense(count: int) -> list[tuple[int, int]]:
    """Returns what a stream has to have: each event once, its sequence one above its index."""
    return [(index + 1, index) for index in range(count)]


def test_sequence_is_index_plus_one(dsn: str, siem: str, nats: NatsServer) -> None:
    """Each event is there once, in the order of the log, with its index as the sequence."""
    append(dsn, 30)
    send_all(dsn, siem)
    append(dsn, 5)
    send_all(dsn, siem)
    assert indexes(nats) == dense(35)


def test_sent_again(dsn: str, siem: str, nats: NatsServer) -> None:
    """What is sent again, after a crash or because the stream was rewound, is there once."""
    append(dsn, 30)
    send_all(dsn, siem)
    with psycopg.connect(dsn) as conn:
        streams.rewind(conn, siem, 10)
    append(dsn, 5)
    send_all(dsn, siem)
    assert indexes(nats) == dense(36)  # with the event about the rewind
    assert state(dsn).next_index == 36


def test_a_worker_that_has_been_overtaken(
    dsn: str, siem: str, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has asked how far the stream is, and publishes after another one has: JetStream refuses its events."""
    append(dsn, 10)
    with psycopg.connect(dsn, autocommit=True) as conn:
        entries = run(conn, at(list(range(10))))
    url = StreamURL.parse(f"nats://{nats.place}?stream=AUDIT")
    request = Request(siem, url, allow_private=True)
    with closing(open_destination(request)) as first, closing(open_destination(request)) as second:

        async def empty(_: JetStreamContext) -> SimpleNamespace:
            return SimpleNamespace(state=SimpleNamespace(last_seq=0))

        first.send(entries)
        monkeypatch.setattr(second, "_stream", empty)
        with pytest.raises(DeliveryFailed, match="wrong last sequence"):
            second.send(entries)
    assert indexes(nats) == dense(10)


def test_server_is_killed(dsn: str, siem: str, nats: NatsServer) -> None:
    """A server that is killed and started again gets what it has not stored yet, and nothing twice."""
    append(dsn, 2_000)
    settings = Settings(dsn=dsn, job_backoff_delay=100, job_backoff_max=100)

    def restart() -> None:
        nats.stop(kill=True)
        nats.start()

    killer = threading.Timer(0.2, restart)
    killer.start()
    for _ in range(50):
        send_all(dsn, siem, settings)
        if state(dsn).next_index == 2_000:
            break
        threading.Event().wait(0.15)
    killer.join()
    assert indexes(nats) == dense(2_000)


def test_subject(dsn: str, siem: str, nats: NatsServer) -> None:
    """The subject has tenant and action, so that consumers choose; what it cannot hold is escaped."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(
            conn,
            AuditEvent(action="claim.approved", target="claim:7", tenant="north.sea > *"),
            AuditEvent(action="claim.approved", target="claim:7"),
        )
        conn.commit()
        run_worker_once(conn)
    send_all(dsn, siem)
    subjects = [subject for _, subject, _ in nats.messages("AUDIT")]
    assert subjects == ["audit.north%2Esea%20%3E%20%2A.claim.approved", "audit._.claim.approved"]


def test_nothing_can_be_deleted(dsn: str, siem: str, nats: NatsServer) -> None:
    """The stream that pgaudit makes there can neither be purged, nor can a message be deleted."""
    append(dsn, 1)
    send_all(dsn, siem)

    async def purge(jetstream: JetStreamContext) -> None:
        await jetstream.purge_stream("AUDIT")

    async def delete(jetstream: JetStreamContext) -> None:
        await jetstream.delete_msg("AUDIT", 1)

    for act in (purge, delete):
        with pytest.raises(APIError):
            nats.ask(act)
    assert indexes(nats) == dense(1)


def test_log_of_an_older_backup(dsn: str, siem: str, nats: NatsServer, server: Server) -> None:
    """A log that was restored, and has gone on otherwise, is noticed; what JetStream has stays as it is."""
    append(dsn, 5)
    send_all(dsn, siem)
    name = conninfo_to_dict(dsn)["dbname"]
    with fresh_database(server, template=str(name)) as backup:
        append(dsn, 5)
        send_all(dsn, siem)
        before = nats.messages("AUDIT")
        append(backup.dsn, 7)
        send_all(backup.dsn, siem)
        found = state(backup.dsn)
    assert (found.state, found.pause_kind) == ("paused", "refused")
    assert "another event at index 9" in (found.pause_reason or "")
    assert nats.messages("AUDIT") == before


def test_gap(dsn: str, siem: str, nats: NatsServer) -> None:
    """A stream there that has lost its end is not continued with a gap: the remedy is named, and works."""
    append(dsn, 10)
    send_all(dsn, siem)

    async def recreate(jetstream: JetStreamContext) -> None:
        await jetstream.delete_stream("AUDIT")

    nats.ask(recreate)
    append(dsn, 1)
    send_all(dsn, siem)
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
    remedy = "is empty, and 10 is next: set ours back with pgaudit stream rewind siem 0"
    assert remedy in (state(dsn).pause_reason or "")
    with psycopg.connect(dsn) as conn:
        streams.rewind(conn, siem, 0)
        streams.resume(conn, siem)
    send_all(dsn, siem)
    assert indexes(nats) == dense(11)


@pytest.mark.parametrize("more", [{"query": "action:claim.*"}, {"start": 5}, {"start": None}])
def test_needs_the_whole_log(dsn: str, nats: NatsServer, more: dict[str, object]) -> None:
    """A part of the log has no dense sequence: such a stream is refused."""
    append(dsn, 6)
    given = {"start": 0, "allow_private": True} | more
    with psycopg.connect(dsn) as conn, pytest.raises(InvalidStream, match="the whole log"):
        streams.add(conn, "siem", to=f"nats://{nats.place}?stream=AUDIT", **given)  # type: ignore[arg-type]


def test_authorities_that_cannot_be_read(dsn: str) -> None:
    """The stream is paused with the name of the file: it would never connect."""
    append(dsn, 1)
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "siem", to="nats+tls://127.0.0.1:4222?stream=AUDIT&ca=/nowhere/ca.pem", start=0)
    send_all(dsn, "siem")
    assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
    assert "ca=/nowhere/ca.pem cannot be used: No such file" in (state(dsn).pause_reason or "")


def test_wrong_password(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not let us in pauses the stream; the password is in no message."""
    append(dsn, 1)
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    with nats_server(tmp_path / "secured", "--user", "audit", "--pass", "correct") as nats:
        with psycopg.connect(dsn) as conn:
            to = f"nats://{nats.place}?stream=AUDIT&user=audit&password=env:NATS_PASSWORD"
            streams.add(conn, "siem", to=to, start=0, allow_private=True)
        send_all(dsn, "siem")
        assert (state(dsn).state, state(dsn).pause_kind) == ("paused", "refused")
        assert "hunter2" not in repr(state(dsn))
        monkeypatch.setenv("NATS_PASSWORD", "correct")
        with psycopg.connect(dsn) as conn:
            streams.resume(conn, "siem")
        send_all(dsn, "siem")
        assert len(nats.messages("AUDIT", user="audit", password="correct")) == 1
