"""Who pauses, resumes, sets back or replays a stream, or gives an event up, is an event itself."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import streams
from pgaudit.errors import InvalidStream
from pgaudit.grants import grant
from tests.support.queries import Connection, rows_and_commit
from tests.support.roles import temporary_roles
from tests.support.streams import append, send_all

EVENTS = "SELECT event FROM pgaudit.audit_jobs WHERE starts_with(event->>'action', 'audit.stream') ORDER BY id"
PARK = 'SELECT pgaudit.park(\'siem\', \'[{"index": 1, "target": "claim:1", "error": "too large"}]\')'


@pytest.fixture
def stream(dsn: str, conn: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """A stream that has sent three events."""
    append(dsn, 3)
    streams.add(conn, "siem", to=f"file:{tmp_path}/out", start=0)
    conn.commit()
    send_all(dsn, "siem")
    return conn


def recorded(conn: Connection) -> list[dict[str, Any]]:
    """Returns the events about streams that wait for a worker."""
    return [event for (event,) in rows_and_commit(conn, EVENTS)]


def test_each_act_of_an_operator_is_an_event(stream: psycopg.Connection) -> None:
    """With the stream as its target; what changes nothing is none."""
    stream.execute(PARK)
    streams.pause(stream, "siem", "maintenance")
    streams.pause(stream, "siem", "again")
    streams.resume(stream, "siem")
    streams.resume(stream, "siem")
    streams.rewind(stream, "siem", 2)
    streams.replay(stream, "siem", 0, 1)
    assert streams.discard(stream, "siem", 1, "it is a test")
    assert not streams.discard(stream, "siem", 1, "it is a test")
    assert [(event["action"], event["data"]) for event in recorded(stream)] == [
        ("audit.stream_paused", {"kind": "asked", "reason": "maintenance"}),
        ("audit.stream_resumed", {}),
        ("audit.stream_rewound", {"from": 3, "to": 2}),
        ("audit.stream_replayed", {"from": 0, "to": 1}),
        ("audit.stream_event_discarded", {"index": 1, "reason": "it is a test"}),
    ]
    assert all(event["targets"] == [{"type": "stream", "id": "siem"}] for event in recorded(stream))


def test_an_act_that_is_rolled_back_leaves_no_event(stream: psycopg.Connection) -> None:
    """Nor one that is refused."""
    with stream.transaction(force_rollback=True):
        streams.pause(stream, "siem")
    with pytest.raises(InvalidStream):
        streams.rewind(stream, "siem", 99)
    assert recorded(stream) == []


def test_the_user_that_the_application_names_is_the_actor(stream: psycopg.Connection) -> None:
    """And the one who has paused the stream; otherwise that is the database role."""
    said = {"actor": {"type": "user", "id": "42", "name": "Ada"}, "context": {"ip": "203.0.113.7"}}
    stream.execute("SELECT set_config('audit.context', %s, true)", [json.dumps(said)])
    streams.pause(stream, "siem")
    assert streams.found(stream, "siem").paused_by == "user:42"
    stream.commit()
    streams.resume(stream, "siem")
    paused, resumed = recorded(stream)
    assert (paused["actor"], paused["context"]["ip"]) == (said["actor"], "203.0.113.7")
    assert resumed["actor"] == {"type": "db_user", "id": stream.info.user}


def test_an_operator_may_act_and_a_reader_may_not(stream: psycopg.Connection, dsn: str) -> None:
    """An operator needs no right to record."""
    with temporary_roles(dsn, "t_operator", "t_reader"):
        grant(stream, operator="t_operator", reader="t_reader")
        stream.commit()
        with psycopg.connect(make_conninfo(dsn, user="t_operator"), autocommit=True) as conn:
            streams.replay(conn, "siem", 0, 1)
            assert streams.stop_replay(conn, "siem")
            streams.pause(conn, "siem")
            streams.resume(conn, "siem")
            streams.rewind(conn, "siem", 0)
            assert [one.name for one in streams.listed(conn)] == ["siem"]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                streams.remove(conn, "siem")
        with psycopg.connect(make_conninfo(dsn, user="t_reader"), autocommit=True) as conn:
            assert [one.name for one in streams.listed(conn)] == ["siem"]
            for act in (streams.pause, streams.resume, streams.retry, streams.stop_replay):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    act(conn, "siem")
    assert [event["actor"]["id"] for event in recorded(stream)] == ["t_operator"] * 4
