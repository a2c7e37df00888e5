"""The live tail over HTTP: new events, the scope, and many clients."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, Settings
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from pgaudit.web.dashboard import live_tail
from tests.support.browser import browser_of
from tests.support.http import BEARER, client_of
from tests.support.jobs import record_persist_and_commit
from tests.support.waiting import wait_until
from tests.web.dashboard.someone import EVIL, Someone

LIVE = "/events/live"
HEALTH = "/api/v1/health/queues"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgaudit web' AND datname = current_database()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks more often than in production, and ends a stream soon."""
    monkeypatch.setattr(live_tail, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(live_tail, "LONGEST_SECONDS", 4.0)


def record(conn: psycopg.Connection, *tenants: str, outcome: str = "success") -> None:
    """Records and persists an event of each tenant."""
    events = [
        AuditEvent(action="claim.paid", actor=f"user:{EVIL}", tenant=tenant, outcome=outcome, data={"iban": "DE89"})  # type: ignore[arg-type]
        for tenant in tenants
    ]
    assert record_persist_and_commit(conn, *events) == []


@contextmanager
def following(client: httpx.Client, **options: object) -> Iterator[Iterator[str]]:
    """Opens a stream; returns its lines after the first, which says that it follows."""
    with client.stream("GET", LIVE, **options) as answer:  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        assert next(lines) == ": following"
        yield lines


def messages(lines: Iterator[str]) -> list[tuple[int, str]]:
    """Returns id and HTML of the messages of a stream, to its end."""
    blocks = "\n".join(lines).split("\n\n")
    found: list[tuple[int, str]] = []
    for block in blocks:
        data = [line.removeprefix("data: ") for line in block.splitlines() if line.startswith("data: ")]
        if data:
            (index,) = [int(line.removeprefix("id: ")) for line in block.splitlines() if line.startswith("id: ")]
            found.append((index, "\n".join(data)))
    return found


def test_new_events_arrive_in_order(settings: Settings, conn: psycopg.Connection) -> None:
    """Those that the search finds, after the one that the page has seen last; each is a row."""
    record(conn, "north", "south", "north")
    with (
        browser_of(create_app(settings, Someone())) as browser,
        following(browser.client, params={"q": "tenant:north", "last": "0"}) as lines,
    ):
        record(conn, "south", "north")
        found = messages(lines)
    assert [index for index, _ in found] == [2, 4]
    assert all(html.startswith("<tr>") and "<img" not in html for _, html in found)


def test_a_stream_goes_on_after_the_last_event(settings: Settings, conn: psycopg.Connection) -> None:
    """A browser that connects again says which event it has seen last."""
    record(conn, *["north"] * 5)
    with (
        browser_of(create_app(settings, Someone())) as browser,
        following(browser.client, params={"last": "0"}, headers={"Last-Event-ID": "3"}) as lines,
    ):
        assert [index for index, _ in messages(lines)] == [4]


def test_a_page_that_has_missed_many_events_is_told_so(
    settings: Settings, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the first of them, and a row that leads to the rest."""
    monkeypatch.setattr(live_tail, "MOST_ROWS", 3)
    record(conn, *["north"] * 9)
    with (
        browser_of(create_app(settings, Someone())) as browser,
        following(browser.client, params={"last": "-1"}) as lines,
    ):
        found = messages(lines)
    assert [index for index, _ in found] == [0, 1, 2, 2]
    assert "More events came in" in found[-1][1]


def test_no_stream_leaves_the_scope_or_shows_hidden_values(settings: Settings, conn: psycopg.Connection) -> None:
    """Whatever the search asks for."""
    record(conn, "south", "north", "south")
    user = Someone(sees=Scope(frozenset({"north"})), masked=frozenset({"actor.id"}))
    with browser_of(create_app(settings, user)) as browser:
        with following(browser.client, params={"q": "tenant:north,south", "last": "-1"}) as lines:
            found = messages(lines)
        refused = browser.get(LIVE, params={"q": "actor:user:x"})
    assert [index for index, _ in found] == [1]
    assert "onerror" not in json.dumps(found)
    assert refused.status_code == 403


@pytest.mark.parametrize("params", [{"q": "tenat:x"}, {"last": "x"}, {"last": "1e9"}])
def test_a_stream_that_cannot_be_understood_is_refused(settings: Settings, params: dict[str, str]) -> None:
    """422, and no stream."""
    with browser_of(create_app(settings, Someone())) as browser:
        assert browser.get(LIVE, params=params).status_code == 422


def test_200_streams_hold_no_connection(
    settings: Settings, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are allowed follow the log, the others are told so, and the health is answered meanwhile."""
    monkeypatch.setattr(live_tail, "LONGEST_SECONDS", 60.0)
    record(conn, "north")
    with client_of(create_app(settings)) as client:
        port = client.base_url.port
        assert port
        streams = [socket.create_connection((client.base_url.host, port)) for _ in range(200)]
        try:
            for one in streams:
                one.sendall(
                    b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n"
                    % (LIVE.encode(), BEARER[b"Authorization"])
                )
            with ThreadPoolExecutor(20) as threads:
                answers = list(threads.map(lambda one: one.recv(12), streams))
            assert answers.count(b"HTTP/1.1 200") == live_tail.MOST_CLIENTS
            assert answers.count(b"HTTP/1.1 503") == 200 - live_tail.MOST_CLIENTS
            record(conn, "north")
            assert client.get(HEALTH).status_code == 200
            ((connections,),) = conn.execute(CONNECTIONS).fetchall()
            assert connections <= 4
        finally:
            for one in streams:
                one.close()
        wait_until("the places are free again", lambda: client.head(LIVE, headers=BEARER).status_code == 200)
