"""The health check of the streams, what doctor finds, and the metrics."""

import json
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import Settings, health, streams
from pgaudit.grants import grant
from pgaudit.health import Check, Status
from pgaudit.streams import positions
from pgaudit.web import create_app
from tests.support.command_line import run_anew
from tests.support.http import client_of
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.streams import append, send_all


@pytest.fixture
def stream(dsn: str, tmp_path: Path, conn: psycopg.Connection) -> psycopg.Connection:
    """A stream that has sent three events, and a session in autocommit."""
    append(dsn, 3)
    conn.autocommit = True
    streams.add(conn, "siem", to=f"file:{tmp_path}/out", start=0)
    send_all(dsn, "siem")
    return conn


def check(conn: Connection, **settings: Any) -> Check:
    """Returns the check."""
    found = health.check(conn, Settings(dsn=conn.info.dsn, **settings))
    return next(each for each in found.checks if each.name == "streams")


def fail(conn: Connection, seconds: float) -> None:
    """Lets the stream fail for that long."""
    conn.execute(
        "UPDATE pgaudit.stream_position SET attempts = 3, error = 'no route to host', "
        "failing_since = clock_timestamp() - make_interval(secs => %s)",
        [seconds],
    )


def test_a_stream_that_sends_is_healthy(stream: psycopg.Connection, dsn: str) -> None:
    """Also for a role that is a reader or a worker and nothing else; and a database without streams."""
    assert check(stream) == Check("streams", Status.HEALTHY, 0.0, 10_800.0, "1 stream(s) send what is in the log.")
    with temporary_roles(dsn, "t_reader", "t_worker"):
        grant(stream, reader="t_reader", worker="t_worker")
        for role in ("t_reader", "t_worker"):
            with psycopg.connect(make_conninfo(dsn, user=role), autocommit=True) as conn:
                assert check(conn).status is Status.HEALTHY
    streams.remove(stream, "siem")
    assert check(stream).message == "There is no stream."


def test_a_destination_that_fails_degrades_after_a_while(stream: psycopg.Connection) -> None:
    """With its last error; a short outage is none."""
    fail(stream, 200)
    assert check(stream).status is Status.HEALTHY
    fail(stream, 400)
    assert check(stream).status is Status.DEGRADED
    assert "siem has failed for 400 s: no route to host: try `pgaudit stream test siem`" in check(stream).message
    assert check(stream, health_max_stream_failure=500).status is Status.HEALTHY


@pytest.mark.parametrize(
    ("seconds", "status"), [(5_000, Status.HEALTHY), (6_000, Status.DEGRADED), (11_000, Status.UNHEALTHY)]
)
def test_a_stream_that_is_late_degrades_then_fails_the_check(
    stream: psycopg.Connection, dsn: str, seconds: int, status: Status
) -> None:
    """By the age of the oldest event that it has not got to, also while somebody has paused it."""
    append(dsn, 2)
    stream.execute("ALTER TABLE pgaudit.batch DISABLE TRIGGER USER")
    stream.execute("UPDATE pgaudit.batch SET persisted_at = persisted_at - make_interval(secs => %s)", [seconds])
    assert check(stream).status is status
    streams.pause(stream, "siem")
    assert (check(stream).status, "s behind, and paused" in check(stream).message) == (
        status,
        status is not Status.HEALTHY,
    )
    assert check(stream, health_max_stream_lag=100_000).status is Status.HEALTHY


@pytest.mark.parametrize("kind", ["refused", "failing", "mismatch"])
def test_a_stream_that_is_paused_by_an_error_fails_the_check(stream: psycopg.Connection, kind: str) -> None:
    """A pause that somebody has asked for does not."""
    streams.pause(stream, "siem", "maintenance")
    assert check(stream).status is Status.HEALTHY
    streams.resume(stream, "siem")
    positions.pause(stream, "siem", kind, "401 Unauthorized")
    found = check(stream)
    assert found.status is Status.UNHEALTHY
    assert found.message == (
        f"siem is paused ({kind}): 401 Unauthorized: correct it, then run `pgaudit stream resume siem`."
    )
    assert health.check(stream).status is Status.UNHEALTHY


def test_parked_events_degrade(stream: psycopg.Connection) -> None:
    """Until they are sent or discarded."""
    stream.execute("""SELECT pgaudit.park('siem', '[{"index": 1, "error": "too large"}]')""")
    found = check(stream)
    assert (found.status, "siem has parked 1 event(s)" in found.message) == (Status.DEGRADED, True)
    streams.discard(stream, "siem", 1, "a test")
    assert check(stream).status is Status.HEALTHY


def test_the_worst_comes_first_and_many_are_counted(stream: psycopg.Connection, tmp_path: Path) -> None:
    """Three are named. What is no destination is not looked at."""
    for number in range(4):
        streams.add(stream, f"s{number}", to=f"file:{tmp_path}/{number}")
        stream.execute("""SELECT pgaudit.park(%s, '[{"index": 1, "error": "too large"}]')""", [f"s{number}"])
    positions.pause(stream, "siem", "refused", "401 Unauthorized")
    stream.execute("SELECT pgaudit.add_stream('cursor:app:app', 'cursor', NULL, '', 'native', false, false, 0)")
    found = check(stream)
    assert found.status is Status.UNHEALTHY
    assert found.message.startswith("siem is paused (refused)")
    assert found.message.endswith(" … and 2 more: see `pgaudit doctor`.")


def test_doctor_names_each_problem_with_its_remedy(stream: psycopg.Connection, dsn: str) -> None:
    """A pause by an error is a fault, parked events are a warning."""
    stream.execute("""SELECT pgaudit.park('siem', '[{"index": 1, "error": "too large"}]')""")
    done = run_anew("doctor", "--json", PGAUDIT_DSN=dsn)
    (found,) = [one for one in json.loads(done.stdout) if one["name"] == "stream"]
    assert (found["level"], found["message"]) == ("warning", "siem has parked 1 event(s)")
    positions.pause(stream, "siem", "refused", "401 Unauthorized")
    done = run_anew("doctor", "--json", PGAUDIT_DSN=dsn)
    assert done.returncode == 1
    assert [one["level"] for one in json.loads(done.stdout) if one["name"] == "stream"] == ["fault", "warning"]


def test_metrics_have_each_stream(stream: psycopg.Connection, dsn: str) -> None:
    """Its lag, what it has sent and parked, its failures, and whether it is paused."""
    stream.execute("""SELECT pgaudit.park('siem', '[{"index": 1, "error": "too large"}]')""")
    append(dsn, 2)
    streams.pause(stream, "siem")
    with client_of(create_app(Settings(dsn=dsn))) as client:
        told = figures(client)
    assert told.pop("pgaudit_stream_lag_seconds") > 0
    assert told == {
        "pgaudit_stream_lag_events": 2,
        "pgaudit_stream_events_delivered_total": 3,
        "pgaudit_stream_parked_events": 1,
        "pgaudit_stream_failures": 0,
        "pgaudit_stream_paused": 1,
    }


def figures(client: httpx.Client) -> dict[str, float]:
    """Returns the figures of the stream by their names."""
    text = client.get("/metrics").raise_for_status().text
    named = (line.partition('{stream="siem"} ') for line in text.splitlines() if 'stream="siem"' in line)
    return {name: float(value) for name, _, value in named}
