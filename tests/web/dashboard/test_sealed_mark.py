"""The mark of a timeline whose days are sealed."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from pgaudit import Settings
from pgaudit.sealing.completeness import close_periods
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import browser_of
from tests.support.events import events
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.tampering import tamper
from tests.web.dashboard.someone import Someone

MARK = 'Complete, sealed until <time datetime="2026-11-24T00:00:00'


def seal_on(conn: psycopg.Connection, signer: Signer, day: str) -> None:
    """Signs the log, as on a day."""
    assert seal(conn, signer) is not None
    newest = "size = (SELECT max(size) FROM pgaudit.checkpoint)"
    tamper(conn, f"UPDATE pgaudit.checkpoint SET signed_at = '{day} 00:00:05Z' WHERE {newest}")


def test_a_timeline_says_until_when_it_is_complete(
    conn: psycopg.Connection, settings: Settings, tmp_path: Path
) -> None:
    """To whom sees everything, once the day is sealed; a thing whose events are newer has no mark."""
    signer = Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark"))
    record_persist_and_commit(conn, *events(3))
    seal_on(conn, signer, "2026-11-23")
    record_persist_and_commit(conn, *events(1))
    seal_on(conn, signer, "2026-11-24")
    with ExitStack() as stack:
        browser = stack.enter_context(browser_of(create_app(settings, Someone())))
        assert "sealed until" not in browser.get("/timeline/claim/2").text
        assert close_periods(conn, Settings(), datetime(2026, 11, 24, 1, tzinfo=UTC)) == ["2026-11-23"]
        persist_and_commit(conn)
        assert "sealed until" not in browser.get("/timeline/claim/2").text
        seal_on(conn, signer, "2026-11-24")
        assert MARK in browser.get("/timeline/claim/2").text
        assert "sealed until" not in browser.get("/timeline/claim/99").text
        limited = stack.enter_context(browser_of(create_app(settings, Someone(sees=Scope(query="action:claim.*")))))
        page = limited.get("/timeline/claim/2").text
        assert "claim.approved" in page
        assert "sealed until" not in page
