"""The pages about streams over HTTP: their receiver runs, and the URLs that they print can be used."""

import re
import subprocess
import time

import psycopg
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from docs.code import webhook_hmac, webhook_keys, webhook_receiver
from pgaudit import streams
from pgaudit.streams.destinations.webhook_signatures import Signer
from pgaudit.streams.kinds import KINDS
from pgaudit.streams.urls import StreamURL
from tests.docs.printed import ROOT, blocks, commands
from tests.support.http import client_of
from tests.support.streams import append, send_all

PAGES = ("webhook", "splunk", "datadog", "otlp", "syslog", "smtp", "report", "nats", "kafka")
TO = re.compile(r'--to "?([^" ]+)"?')


@pytest.fixture
def inbox(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database for the receiver, its keys, and those of the worker."""
    private, public = webhook_keys.make_keys()
    for name, value in {"AUDIT_WEBHOOK_KEY": private, "AUDIT_PUBLIC_KEY": public, "INBOX_DSN": dsn}.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE audit_inbox (id text PRIMARY KEY, event jsonb NOT NULL)")
    return dsn


def test_the_receiver_has_each_event_once(inbox: str) -> None:
    """Also when the stream is rewound, and everything is sent again."""
    append(inbox, 5)
    with client_of(webhook_receiver.app) as client, psycopg.connect(inbox, autocommit=True) as conn:
        url = f"{client.base_url}".rstrip("/") + "/audit?secret=env:AUDIT_WEBHOOK_KEY"
        streams.add(conn, "hook", to=url, start=0, allow_private=True)
        send_all(inbox, "hook")
        streams.rewind(conn, "hook", 0)
        send_all(inbox, "hook")
        assert [one.events for one in streams.deliveries(conn, "hook") if one.status == "delivered"] == [5, 5]
        rows = conn.execute("SELECT id, event->'event'->>'id' FROM audit_inbox").fetchall()
    assert len(rows) == 5
    assert all(identity == of_event for identity, of_event in rows)


def test_the_receiver_refuses_what_was_changed_or_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what somebody else has signed."""
    private, public = webhook_keys.make_keys()
    body, now = b"{}", 1_800_000_000
    monkeypatch.setattr("time.time", lambda: now)

    def headers(key: str, timestamp: int) -> dict[str, str]:
        signature = Signer([key]).sign("a", timestamp, body)
        return {"webhook-id": "a", "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,AAAA {signature}"}

    ours = headers(private, now)
    assert webhook_receiver.is_signed(ours, body, public)
    assert not webhook_receiver.is_signed(ours, b"{ }", public)
    assert not webhook_receiver.is_signed(ours | {"webhook-id": "b"}, body, public)
    assert not webhook_receiver.is_signed(headers(private, now - 301), body, public)
    assert not webhook_receiver.is_signed(headers(webhook_keys.make_keys()[0], now), body, public)
    assert not webhook_receiver.is_signed({}, body, public)


def test_the_shared_secret_of_the_page() -> None:
    """What the command prints is a key for both sides."""
    (command,) = [c for block in blocks("docs/streams/webhook.md", "console") for c in commands(block) if "whsec_" in c]
    key = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    timestamp = int(time.time())
    signature = Signer([key]).sign("a", timestamp, b"{}")
    headers = {"webhook-id": "a", "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    assert webhook_hmac.event_of(headers, b"{}", key) == {}
    with pytest.raises(WebhookVerificationError):
        webhook_hmac.event_of(headers, b"[]", key)


@pytest.mark.parametrize("page", PAGES)
def test_each_url_of_a_page_can_be_used(page: str) -> None:
    """Its kind is that of the page, and each of its options is known."""
    text = (ROOT / "docs/streams" / f"{page}.md").read_text()
    urls = [StreamURL.parse(url) for url in TO.findall(text)]
    assert {url.kind for url in urls} == {page}


@pytest.mark.parametrize("page", PAGES)
def test_each_option_of_a_kind_is_on_its_page(page: str) -> None:
    """And no other."""
    text = (ROOT / "docs/streams" / f"{page}.md").read_text()
    table = text.partition("| Option | Value |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[1:] for name in re.findall("`([a-z_]+)`", row.split("|")[1])}
    assert named == frozenset().union(*(kind.known for kind in KINDS.values() if kind.name == page))
