"""The routes about streams: what they tell, to whom, and what they do."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.grants import grant
from pgaudit.streams import positions
from pgaudit.web import create_app
from pgaudit.web.access import Action, Scope
from tests.support.http import BEARER, client_of
from tests.support.queries import rows_and_commit
from tests.support.roles import temporary_roles
from tests.support.streams import send_all
from tests.web.api.conftest import SECRET, Opened, Staff

STREAMS = "/api/v1/audit/streams"
SIEM = f"{STREAMS}/siem"
ACTS = "SELECT event FROM pgaudit.audit_jobs WHERE starts_with(event->>'action', 'audit.stream') ORDER BY id"
EVERYTHING: frozenset[Action] = frozenset({"read", "export", "retry", "admin"})


@pytest.fixture
def siem(dsn: str, conn: psycopg.Connection, recorded: list[object], tmp_path: Path) -> psycopg.Connection:
    """A stream that has sent 30 events, and has parked two of them."""
    assert recorded
    conn.autocommit = True
    streams.add(conn, "siem", to=f"file:{tmp_path}/out", query="action:claim.*", start=0)
    send_all(dsn, "siem")
    error = f"422: {SECRET} is too long"
    parked = [{"index": 3, "target": "claim:3", "error": error}, {"index": 8, "target": "claim:3", "behind": 3}]
    conn.execute("SELECT pgaudit.park('siem', %s)", [json.dumps(parked)])
    return conn


def test_streams_are_told(api: httpx.Client, siem: psycopg.Connection) -> None:
    """The list, one of them, its deliveries and its parked events, in pages."""
    assert siem
    (listed,) = api.get(STREAMS).json()["streams"]
    assert (listed["name"], listed["state"], listed["next_index"], listed["parked"]) == ("siem", "active", 30, 2)
    assert api.get(SIEM).json()["query"] == "action:claim.*"
    (sent,) = api.get(f"{SIEM}/deliveries").json()["deliveries"]
    assert (sent["status"], sent["events"], sent["to_index"]) == ("delivered", 30, 29)
    first = api.get(f"{SIEM}/parked?limit=1").json()
    assert (first["next"], first["parked"][0]["target"]) == (3, "claim:3")
    assert SECRET in first["parked"][0]["error"]
    second = api.get(f"{SIEM}/parked?limit=1&after=3").json()
    assert (second["parked"][0]["index"], second["parked"][0]["behind"]) == (8, 3)


def test_each_act_is_done_and_names_the_user(as_user: Opened, siem: psycopg.Connection) -> None:
    """In an event of the log, with the address of the client."""
    client = as_user(Staff(actions=EVERYTHING))
    assert client.post(f"{SIEM}/pause", json={"reason": "maintenance"}).json()["state"] == "paused"
    assert client.get(SIEM).json()["paused_by"] == "user:anna"
    assert client.post(f"{SIEM}/resume").json()["state"] == "active"
    assert client.post(f"{SIEM}/rewind", json={"index": 7}).json()["next_index"] == 7
    assert client.post(f"{SIEM}/replay", json={"first": 1, "last": 3}).json()["replay_to"] == 3
    assert client.delete(f"{SIEM}/replay").json()["replay_to"] is None
    assert client.post(f"{SIEM}/retry", json={}).json() == {"retried": 1}
    assert client.post(f"{SIEM}/discard", json={"index": 3, "reason": "a test"}).json()["parked"] == 0
    assert client.post(f"{SIEM}/test").json()["accepted"] is True
    acts = [event for (event,) in rows_and_commit(siem, ACTS)]
    assert [(act["action"], act["actor"]["id"]) for act in acts] == [
        ("audit.stream_paused", "anna"),
        ("audit.stream_resumed", "anna"),
        ("audit.stream_rewound", "anna"),
        ("audit.stream_replayed", "anna"),
        ("audit.stream_event_discarded", "anna"),
    ]
    assert all(act["context"]["ip"] == "127.0.0.1" for act in acts)


def test_what_cannot_be_done_is_a_problem(as_user: Opened, siem: psycopg.Connection) -> None:
    """404 for what is not there, 422 for what cannot be, 409 while a worker is busy."""
    client = as_user(Staff(actions=EVERYTHING))
    other = f"{STREAMS}/other"
    for answer in (
        client.get(other), client.get(f"{other}/deliveries"), client.get(f"{other}/parked"),
        client.post(f"{other}/resume"), client.post(f"{other}/test"),
        client.post(f"{SIEM}/discard", json={"index": 4, "reason": ""}),
    ):  # fmt: skip
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    for path, body in {
        f"{SIEM}/rewind": {"index": 31}, f"{SIEM}/replay": {"first": 5, "last": 30}, f"{SIEM}/pause": {"why": "x"},
        f"{SIEM}/discard": {"index": -1, "reason": ""}, f"{STREAMS}/No!/resume": None,
    }.items():  # fmt: skip
        assert client.post(path, json=body).status_code == 422, path
    with siem.transaction():
        siem.execute("SELECT FROM pgaudit.stream_position WHERE name = 'siem' FOR UPDATE")
        busy = client.post(f"{SIEM}/rewind", json={"index": 0})
    assert (busy.status_code, "Try again" in busy.json()["detail"]) == (409, True)
    assert client.get(SIEM).json()["next_index"] == 30


def test_a_destination_that_refuses_the_test_is_told(as_user: Opened, siem: psycopg.Connection, tmp_path: Path) -> None:
    """With what it has said."""
    assert siem
    (tmp_path / "out" / "position.json").write_text("broken")
    told = as_user(Staff(actions=EVERYTHING)).post(f"{SIEM}/test").json()
    assert (told["accepted"], "cannot be read" in told["result"]) == (False, True)


def test_streams_are_for_those_who_see_the_whole_trail(as_user: Opened, siem: psycopg.Connection) -> None:
    """Who may read sees them; who may retry sends parked events again; the rest is for administrators."""
    assert siem
    part = as_user(Staff(seen=Scope(query="tenant:north"), actions=EVERYTHING))
    assert [part.get(path).status_code for path in (STREAMS, SIEM, f"{SIEM}/parked")] == [403] * 3
    assert part.post(f"{SIEM}/resume").status_code == 403
    reader = as_user(Staff())
    assert (reader.get(SIEM).status_code, reader.post(f"{SIEM}/retry", json={}).status_code) == (200, 403)
    operator = as_user(Staff(actions=frozenset({"read", "retry"})))
    assert operator.post(f"{SIEM}/retry", json={}).status_code == 200
    for act in ("pause", "resume", "rewind", "replay", "discard", "test"):
        assert operator.post(f"{SIEM}/{act}", json={}).status_code == 403, act
    assert operator.delete(f"{SIEM}/replay").status_code == 403


def test_masked_values_of_parked_events_stay_masked(as_user: Opened, siem: psycopg.Connection) -> None:
    """Also in the error, which may quote them."""
    assert siem
    told = as_user(Staff(hidden=frozenset({"changes.iban.after", "targets"}))).get(f"{SIEM}/parked")
    assert SECRET not in told.text
    assert told.json()["parked"][0]["error"].startswith("Withheld")
    assert told.json()["parked"][0]["target"] == "hidden"


def test_what_a_destination_answers_is_withheld_from_who_sees_masked_values(
    api: httpx.Client, as_user: Opened, siem: psycopg.Connection
) -> None:
    """It may quote any event: in the list, of one stream, in the history, and in the answer to an act."""
    siem.execute("SELECT pgaudit.note_stream_failure('siem', 4, 5, %s, '1 minute')", [f"422: {SECRET}"])
    positions.pause(siem, "siem", "refused", f"422: {SECRET}")
    assert all(SECRET in api.get(path).text for path in (STREAMS, SIEM, f"{SIEM}/deliveries"))
    client = as_user(Staff(actions=EVERYTHING, hidden=frozenset({"targets"})))
    told = [client.get(path).text for path in (STREAMS, SIEM, f"{SIEM}/deliveries")]
    told.append(client.post(f"{SIEM}/pause", json={}).text)
    assert [(SECRET in text, "Withheld: it may quote" in text) for text in told] == [(False, True)] * 4


@pytest.fixture
def reader_role(dsn: str, settings: Settings) -> Iterator[httpx.Client]:
    """A client with the token, of a server whose database role is a reader."""
    with temporary_roles(dsn, "t_web"):
        with psycopg.connect(dsn) as conn:
            grant(conn, reader="t_web")
        granted = settings.model_copy(update={"dsn": psycopg.conninfo.make_conninfo(dsn, user="t_web")})
        with client_of(create_app(granted)) as client:
            client.headers.update(BEARER)
            yield client


def test_a_server_that_may_not_operate_says_what_to_grant(reader_role: httpx.Client, siem: psycopg.Connection) -> None:
    """It shows the streams all the same."""
    assert siem
    assert reader_role.get(SIEM).status_code == 200
    refused = reader_role.post(f"{SIEM}/resume")
    assert (refused.status_code, "pgaudit grant --operator t_web" in refused.json()["detail"]) == (503, True)
