"""Exports through the API: what is in them, who may have them, and how they are recorded."""

import csv
import io
import json
import socket
import threading
from typing import Any

import httpx
import psycopg
import pyarrow.parquet
import pytest

from pgaudit import AuditEvent, Settings, trail
from pgaudit.trail import export
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.http import BEARER, client_of
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.waiting import wait_until
from tests.web.api.conftest import SECRET, Opened, Staff

EXPORT = "/api/v1/audit/export"
HEALTH = "/api/v1/health/queues"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgaudit web' AND datname = current_database()
"""


def test_an_export_has_the_stored_texts(api: httpx.Client, conn: psycopg.Connection) -> None:
    """NDJSON is the text of each event that the search finds, byte for byte, in the order of the log."""
    answer = api.get(EXPORT, params={"q": "outcome:denied"})
    stored = conn.execute(
        "SELECT event::text FROM pgaudit.audit_log WHERE outcome = 'denied' ORDER BY index"
    ).fetchall()
    assert answer.text.splitlines() == [text for (text,) in stored]
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="pgaudit-0-29.ndjson"'
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_table_has_the_columns_that_are_asked_for(api: httpx.Client) -> None:
    """CSV with chosen columns, and with the mark by which Excel knows UTF-8."""
    params = {"format": "csv", "columns": "data.number", "bom": "true", "actor": "user:1"}
    answer = api.get(EXPORT, params=params)
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["data.number"] for row in rows] == [row["index"] for row in rows] == [str(n) for n in range(1, 30, 4)]


@pytest.mark.parametrize("params", [{"format": "xml"}, {"columns": "data.number"}, {"format": "csv", "columns": "no"}])
def test_an_export_that_cannot_be_made_is_a_problem(api: httpx.Client, params: dict[str, str]) -> None:
    """422 before anything is sent or recorded."""
    answer = api.get(EXPORT, params=params)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


def test_an_export_is_recorded_at_its_start_and_end(as_user: Opened, conn: psycopg.Connection) -> None:
    """Both events name the export, its query and who it is for; the last one has the count and the hash."""
    answer = as_user(Staff()).get(EXPORT, params={"outcome": "denied"})
    persist_and_commit(conn)
    started, exported = trail.last(conn, 2)
    assert (started.action, exported.action) == ("audit.export_started", "audit.exported")
    for entry in (started, exported):
        assert (entry.actor, entry.target) == ("user:anna", f"export:{answer.headers['Export-Id']}")
        assert entry.event["data"]["log_size"] == 30
        assert "outcome:denied" in json.dumps(entry.event["data"])
    assert (exported.outcome, exported.event["data"]["count"]) == ("success", 10)


def test_a_head_request_exports_nothing(api: httpx.Client, conn: psycopg.Connection) -> None:
    """It tells the headers, and no event says that there was an export."""
    assert api.head(EXPORT).headers["Content-Type"] == "application/x-ndjson"
    persist_and_commit(conn)
    assert trail.last(conn, 1)[0].index == 29


def test_who_may_only_read_exports_nothing(as_user: Opened) -> None:
    """403 without the right to export."""
    assert as_user(Staff(actions=frozenset({"read"}))).get(EXPORT).status_code == 403


def ids_of(content: bytes, file_format: str) -> set[str]:
    """Returns the ids of the events of a file."""
    if file_format == "parquet":
        return set(pyarrow.parquet.read_table(io.BytesIO(content)).column("event_id").to_pylist())
    if file_format == "csv":
        return {row["event_id"] for row in csv.DictReader(io.StringIO(content.decode()))}
    return {json.loads(line)["id"] for line in content.splitlines()}


@pytest.mark.parametrize("file_format", ["ndjson", "csv", "parquet"])
def test_no_export_leaves_the_scope(as_user: Opened, recorded: list[AuditEvent], file_format: str) -> None:
    """A user of one tenant exports that tenant, whatever they ask; a user of none exports nothing."""
    params = {"q": "tenant:north,south", "format": file_format}
    north = as_user(Staff(seen=Scope(tenants=frozenset({"north"}))))
    expected = {str(event.id) for event in recorded if event.tenant == "north"}
    assert ids_of(north.get(EXPORT, params=params).content, file_format) == expected
    nobody = as_user(Staff(seen=Scope(tenants=frozenset())))
    assert ids_of(nobody.get(EXPORT, params=params).content, file_format) == set()


@pytest.mark.parametrize("file_format", ["ndjson", "csv"])
def test_no_export_has_a_hidden_value(as_user: Opened, file_format: str) -> None:
    """Neither the value nor the hash of an event that has it; the other digits stay."""
    user = as_user(Staff(hidden=frozenset({"data.iban", "changes.iban.after", "actor.name"})))
    params = {"format": file_format} | ({"columns": "data.iban"} if file_format == "csv" else {})
    text = user.get(EXPORT, params=params).text
    assert SECRET not in text
    assert "Name 1" not in text
    assert "12345678901234567890" in text
    if file_format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {(row["leaf_hash"], row["data.iban"]) for row in rows} == {("", "hidden")}


def test_a_search_for_a_hidden_value_exports_nothing(as_user: Opened) -> None:
    """The size of the file would tell whether the guess was right."""
    user = as_user(Staff(hidden=frozenset({"data.iban"})))
    assert user.get(EXPORT, params={"data.iban": SECRET}).status_code == 403


def test_a_client_that_leaves_is_recorded(
    settings: Settings, conn: psycopg.Connection, recorded: list[AuditEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its export has ended with a failure."""
    assert recorded
    begun, go_on = threading.Event(), threading.Event()

    portion = export.portion

    def slow(*args: Any, **named: Any) -> object:
        begun.set()
        assert go_on.wait(30)
        return portion(*args, **named)

    monkeypatch.setattr(export, "portion", slow)
    with client_of(create_app(settings)) as client, socket.create_connection(address_of(client)) as left:
        left.sendall(request_of(EXPORT))
        assert begun.wait(30)
        left.close()
        go_on.set()
        wait_until("the end is recorded", lambda: outcome_of_export(conn) == "failure")


def outcome_of_export(conn: psycopg.Connection) -> str | None:
    """Returns the outcome of the newest export that has ended."""
    persist_and_commit(conn)
    page = trail.search(conn, "action:audit.exported", limit=1)
    return page.entries[0].outcome if page.entries else None


def address_of(client: httpx.Client) -> tuple[str, int]:
    """Returns host and port of the server."""
    port = client.base_url.port
    assert port
    return client.base_url.host, port


def request_of(path: str) -> bytes:
    """Returns a request with the token."""
    return b"GET %b HTTP/1.1\r\nHost: test\r\nAuthorization: %b\r\n\r\n" % (path.encode(), BEARER[b"Authorization"])


def slow_client(client: httpx.Client, path: str) -> socket.socket:
    """Returns a socket that has sent a request, and reads next to nothing of what comes."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.connect(address_of(client))
    slow.sendall(request_of(path))
    return slow


def ended(conn: psycopg.Connection) -> int:
    """Returns how many exports have ended."""
    persist_and_commit(conn)
    return trail.count(conn, "action:audit.exported").number


def test_200_clients_that_read_nothing_hold_no_connection(settings: Settings, conn: psycopg.Connection) -> None:
    """The export of each waits for its client, the health is answered meanwhile, and a quick client gets its file."""
    # More than the kernel buffers.
    large = [AuditEvent(action="claim.paid", data={"note": "x" * 8_000}) for _ in range(1_000)]
    assert record_persist_and_commit(conn, *large) == []
    with client_of(create_app(settings)) as client:
        slow = [slow_client(client, EXPORT) for _ in range(200)]
        try:
            assert client.get(HEALTH).status_code == 200
            assert all(one.recv(12) == b"HTTP/1.1 200" for one in slow)
            assert client.get(HEALTH).status_code == 200
            quick = client.get(EXPORT, params={"q": "action:claim.paid"}, headers=BEARER, timeout=120)
            assert len(quick.text.splitlines()) == 1_000
            ((connections,),) = conn.execute(CONNECTIONS).fetchall()
            assert connections <= 4
        finally:
            for one in slow:
                one.close()
        wait_until("the end of each is recorded", lambda: ended(conn) == 201, seconds=120)
        assert trail.count(conn, "action:audit.exported outcome:failure").number == 200
