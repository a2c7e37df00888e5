"""The page on scale: the logs of several databases are read as one."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig, StreamSource

from docs.code.several_logs import denials
from pgaudit import AuditEvent, AuditLog, Settings, streams
from pgaudit.testing import run_worker_once
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.nats import NatsServer, nats_server
from tests.support.streams import send_all


@pytest.fixture
def logs(server: Server) -> Iterator[dict[str, str]]:
    """Two databases, each with two events of the tenant acme and one that was denied."""
    with fresh_database(server) as eu, fresh_database(server) as us:
        for name, dsn in (("eu", eu.dsn), ("us", us.dsn)):
            denied = AuditEvent(action="claim.read", outcome="denied", actor=f"user:{name}", tenant="other")
            seen = [AuditEvent(action="claim.approved", tenant="acme"), AuditEvent(action="claim.paid", tenant="acme")]
            with psycopg.connect(dsn) as conn:
                AuditLog(Settings(dsn=dsn)).record(conn, *seen, denied)
                conn.commit()
                run_worker_once(conn)
        yield {"eu": eu.dsn, "us": us.dsn}


def test_parquet_of_several_logs(logs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory's name is a column; the program of the page finds what was denied in both."""
    monkeypatch.setattr(
        "pgaudit.streams.destinations.parquet.ParquetFiles.ready", lambda _self, entries, _now, **_: len(entries)
    )  # as if the hour was over
    for name, dsn in logs.items():
        with psycopg.connect(dsn) as conn:
            streams.add(conn, "lake", to=f"parquet:{tmp_path}/log={name}", start=0)
        send_all(dsn, "lake")
    assert denials(tmp_path) == [("eu", 2, "user:eu"), ("us", 2, "user:us")]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server with JetStream."""
    with nats_server(tmp_path) as server:
        yield server


def test_subjects_of_several_logs(logs: dict[str, str], nats: NatsServer) -> None:
    """A stream with both logs as its sources is one place to read from; subjects choose tenants and actions."""
    for name, dsn in logs.items():
        with psycopg.connect(dsn) as conn:
            to = f"nats://{nats.place}?stream=AUDIT_{name.upper()}&prefix=audit.{name}"
            streams.add(conn, "bus", to=to, start=0, allow_private=True)
        send_all(dsn, "bus")

    async def read(jetstream: JetStreamContext) -> dict[str, list[str]]:
        sources = [StreamSource(name="AUDIT_EU"), StreamSource(name="AUDIT_US")]
        await jetstream.add_stream(StreamConfig(name="ALL", sources=sources))
        found = {}
        for subject, count in (("audit.*.acme.>", 4), ("audit.*.*.claim.read", 2)):
            consumer = await jetstream.pull_subscribe(subject, stream="ALL", config=ConsumerConfig())
            subjects: list[str] = []
            while len(subjects) < count:  # they come one after the other
                subjects += [message.subject for message in await consumer.fetch(count - len(subjects), timeout=20)]
            found[subject] = sorted(subjects)
        return found

    assert nats.ask(read) == {
        "audit.*.acme.>": [f"audit.{log}.acme.claim.{act}" for log in ("eu", "us") for act in ("approved", "paid")],
        "audit.*.*.claim.read": ["audit.eu.other.claim.read", "audit.us.other.claim.read"],
    }
