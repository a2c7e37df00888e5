"""The page of the integrity, and what the overview and the page of an event say of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import Browser, browser_of
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.sealing import NAME, seal_and_verify, signing
from tests.support.tampering import tamper
from tests.web.dashboard.someone import EVIL, Someone

Opened = Callable[[Someone], Browser]
FORGE = """
    UPDATE pgaudit.audit_log
       SET event = changed, leaf_hash = sha256('\\x00'::bytea || convert_to(changed::text, 'UTF8'))
      FROM (SELECT index AS place, event || '{"reason": "forged"}' AS changed FROM pgaudit.audit_log) forged
     WHERE index = place AND index = 7
"""
AGE = "UPDATE pgaudit.verification SET verified_at = verified_at - interval '8 days'"
ANCHORS = "SELECT * FROM pgaudit.claim_anchors('{file:/a,https://b}', now() - interval '1 hour', '0')"
TAKEN = "SELECT pgaudit.note_anchored('file:/a', 300, now(), NULL)"
FAILED = "SELECT pgaudit.note_anchor_failure('https://b', now(), 'it answers 503')"


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a worker with a signing key."""
    return signing(settings, tmp_path)


@pytest.fixture
def log(conn: psycopg.Connection, worker: Settings) -> psycopg.Connection:
    """A connection to a log of 302 events, 300 of them signed and verified."""
    record_persist_and_commit(conn, *events(300))
    seal_and_verify(conn, worker)
    record_persist_and_commit(conn, *events(2))
    return conn


@pytest.fixture
def opened(settings: Settings) -> Iterator[Opened]:
    """Opens a browser for a user."""
    with ExitStack() as stack:
        yield lambda user: stack.enter_context(browser_of(create_app(settings, user)))


@pytest.fixture
def browser(opened: Opened) -> Browser:
    """A browser of a user who sees everything."""
    return opened(Someone())


def test_a_log_that_is_not_signed_is_shown_as_that(browser: Browser, conn: psycopg.Connection) -> None:
    """With what to do; the event says so, too."""
    record_persist_and_commit(conn, *events(1))
    page = browser.get("/integrity").text
    assert "The log is not signed." in page
    assert "pgaudit keys new" in page
    assert "no checkpoint covers this event" in browser.get("/events/0").text
    assert "not signed</span>" in browser.get("/").text


def test_level_checkpoint_and_anchors_are_shown(browser: Browser, log: psycopg.Connection) -> None:
    """On the page of the integrity, and in a line of the overview."""
    for statement in (ANCHORS, TAKEN, FAILED):
        log.execute(statement)
    log.commit()
    for path in ("/integrity", "/integrity/live"):
        page = browser.get(path).text
        for told in ("The log verifies.", "Assurance: signed.", f"{NAME}+", "up to date", "fails", "it answers 503"):
            assert told in page, told
        assert "file:/a" in page
    overview = browser.get("/").text
    assert '<span class="badge badge-ok">signed</span>' in overview
    assert "2 events are not signed yet." in overview


def test_findings_are_shown_with_the_event_and_the_runbook(
    browser: Browser, log: psycopg.Connection, worker: Settings
) -> None:
    """An event that was forged with its hash is told by its leaf in the tree, at once; then by the verification."""
    assert "Unchanged." in browser.get("/events/7").text
    tamper(log, FORGE)
    assert "or not the one in the sealed tree" in browser.get("/events/7").text
    assert "/events/7/proof" not in browser.get("/events/7").text
    tamper(log, AGE)
    seal_and_verify(log, worker)
    page = browser.get("/integrity").text
    assert "The log does not verify." in page
    assert 'Event 7 was altered: its content and its hash are not what was sealed. <a href="/events/7">' in page
    assert "docs/operate/after-tampering.md" in page
    assert "Assurance:" not in page
    assert "A verification has found this" in browser.get("/events/7").text
    assert "A verification has found this" not in browser.get("/events/8").text
    assert "does not verify" in browser.get("/").text


def test_what_the_database_says_is_never_html(browser: Browser, log: psycopg.Connection) -> None:
    """Not a finding, nor the reason of a refusal, nor a note that was overwritten."""
    log.execute("SELECT pgaudit.note_sealing(%s)", [EVIL])
    found = psycopg.types.json.Jsonb([{"name": EVIL, "message": EVIL, "event_id": EVIL, "index": EVIL}, {}])
    log.execute("SELECT pgaudit.note_verification(0, 5, true, NULL, 30, %s)", [found])
    log.commit()
    tamper(log, "UPDATE pgaudit.checkpoint SET note = '<img src=x>'")
    page = browser.get("/integrity").text
    assert "<img src=x" not in page
    assert "What is stored is no checkpoint" in page
    assert "28 more" in page


def test_an_event_says_by_which_checkpoint_it_is_sealed(browser: Browser, log: psycopg.Connection) -> None:
    """And offers its proof; the newest events are not sealed yet."""
    page = browser.get("/events/7").text
    assert "</a> of 300 events" in page
    assert "/events/7/proof" in page
    proof = browser.get("/events/7/proof")
    assert proof.text.startswith("c2sp.org/tlog-proof@v1\nindex 7\n")
    assert proof.headers["Content-Disposition"] == 'attachment; filename="7.tlog-proof"'
    assert "no checkpoint covers this event" in browser.get("/events/301").text
    assert browser.get("/events/301/proof").status_code == 404
    tamper(log, FORGE)
    assert browser.get("/events/7/proof").status_code == 409


def test_who_sees_a_part_of_the_trail_sees_no_sizes(opened: Opened, log: psycopg.Connection) -> None:
    """That an event is sealed, and when, but neither the checkpoint's size nor a proof; the page is refused."""
    assert log
    browser = opened(Someone(sees=Scope(query="action:claim.*")))
    page = browser.get("/events/7").text
    assert "Signed <time" in page
    assert "of 300 events" not in page
    assert "/events/7/proof" not in page
    for path in ("/integrity", "/integrity/live", "/events/7/proof"):
        assert browser.get(path).status_code == 403
    assert "not signed yet" not in browser.get("/").text


def test_masked_values_withhold_the_proof(opened: Opened, log: psycopg.Connection) -> None:
    """As they withhold the hash."""
    assert log
    browser = opened(Someone(masked=frozenset({"actor.id"})))
    assert "/events/7/proof" not in browser.get("/events/7").text
    assert browser.get("/events/7/proof").status_code == 403
