"""The processors that the documentation shows, run by a worker."""

import importlib
import sqlite3
import sys
from pathlib import Path

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from tests.support.processors import no_others, stat
from tests.support.waiting import wait_until_async
from tests.support.worker import working


async def test_they_do_what_the_page_says(
    dsn: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large claims are mailed, all are found by the search, and what has no target is discarded."""
    monkeypatch.chdir(tmp_path)
    with no_others():  # the module declares its processors when it is imported: only here
        sys.modules.pop("docs.code.processors_", None)
        page = importlib.import_module("docs.code.processors_")
        async with working(settings):
            await wait_until_async("both are known", lambda: stat(dsn, "search-index", "name"))
            with psycopg.connect(dsn) as conn:
                AuditLog(settings).record(
                    conn,
                    AuditEvent(
                        action="claim.approved", actor="user:42", target="claim:7", data={"amount": "200000.00"}
                    ),
                    AuditEvent(action="claim.approved", actor="user:42", target="claim:8", data={"amount": 20}),
                    AuditEvent(action="policy.closed", actor="user:42"),
                )
            await wait_until_async("two are found", lambda: stat(dsn, "search-index", "succeeded") == 2)
            await wait_until_async("one is discarded", lambda: stat(dsn, "search-index", "discarded") == 1)
            await wait_until_async("one is mailed", lambda: stat(dsn, "large-claims", "succeeded") == 1)
    assert [mail["subject"] for mail in page.SENT] == ["claim:7 was approved by user:42"]
    with sqlite3.connect("search.db") as search:
        assert search.execute("SELECT target FROM events ORDER BY number").fetchall() == [("claim:7",), ("claim:8",)]
