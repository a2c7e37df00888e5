"""The overview: whether the trail is keeping up, for who sees all of it and for who sees a part."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgaudit import Settings, streams
from pgaudit.health import Check, HealthReport, Status
from pgaudit.streams import positions
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from pgaudit.web.dashboard import figures, overview
from tests.support.browser import Browser, browser_of
from tests.support.jobs import persist_and_commit, queue_events, register_and_commit
from tests.web.dashboard.someone import EVIL, Someone, failed_job

NORTH = Scope(tenants=frozenset({"north"}))
INLINE = re.compile(r"<style|<script(?! src)| style=| on[a-z]+=\"", re.IGNORECASE)


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    """A browser of a user who sees everything."""
    with browser_of(create_app(settings, Someone())) as browser:
        yield browser


def test_the_overview_says_how_the_trail_does(browser: Browser, dsn: str, conn: psycopg.Connection) -> None:
    """Sentences of the checks, the states of the queue, plots, sizes, and what has failed last."""
    queue_events(dsn, 5)
    persist_and_commit(conn)
    register_and_commit(conn)
    queue_events(dsn, 3)
    failed_job(conn, message="value too long", action="claim.paid")
    page = browser.get("/").text
    assert "The audit trail is keeping up, and something needs attention." in page
    assert "1 job(s) failed" in page
    assert "The schema is current." in page
    for label, number in (("Waiting", 3), ("Failed", 1), ("Workers alive", 1), ("Events in the log", 5)):
        stat = re.search(rf"{label}</span>\s*<a class=\"stat-value\"[^>]*>([\d,]+)<", page)
        assert stat, label
        assert int(stat[1]) == number, label
    assert page.count('role="img"') == 2
    assert page.count("<desc ") == 2
    assert "5 events. At most 5 in 5 minutes" in page
    assert "Numbers of the plots" in page
    assert "audit_jobs" in page
    assert "value too long" in page
    assert "claim.paid" in page


def test_a_destination_that_is_broken_does_not_mean_that_the_log_is_late(
    browser: Browser, conn: psycopg.Connection
) -> None:
    """The first sentence tells them apart."""
    streams.add(conn, "siem", to="file:/nowhere")
    positions.pause(conn, "siem", "refused", "the disk is gone")
    conn.commit()
    assert "Events reach the log, but something after it is broken." in browser.get("/").text


def test_a_log_that_is_late_is_said_first() -> None:
    """Also when something after it is broken."""
    checks = [Check(name, Status.UNHEALTHY, None, None, "") for name in ("streams", "oldest_waiting")]
    late = overview.sentence_of(HealthReport(Status.UNHEALTHY, tuple(checks)))
    assert late == "Events do not reach the log in time."


def test_the_overview_of_an_empty_database(browser: Browser) -> None:
    """Nothing is shown as nothing, in words."""
    page = browser.get("/").text
    assert "Nothing was persisted." in page
    assert "No job has failed." in page
    assert "none waits" in page


def test_the_live_part_is_a_part(browser: Browser) -> None:
    """The page asks for its live part again, below its mount; without JavaScript it is a plain page."""
    page, part = browser.get("/?hours=24").text, browser.get("/overview/live?hours=24").text
    assert 'hx-get="/overview/live?hours=24"' in page
    assert "<html" not in part
    assert "<h1" not in part
    assert "Events persisted in 15 minutes" in part


@pytest.mark.parametrize("hours", ["1", "6", "24", "", "7", "x", "-1", "\u0661"])
def test_the_range_of_the_plots_is_one_of_three(browser: Browser, hours: str) -> None:
    """Any other text shows the usual range."""
    shown = hours if hours in {"1", "24"} else "6"
    page = browser.get("/", params={"hours": hours}).text
    assert f'aria-current="true">{shown} h<' in page
    assert f'aria-label="Plots of the last {shown} hours"' in page


def test_text_of_events_and_errors_is_text(browser: Browser, conn: psycopg.Connection) -> None:
    """Markup in an action or an error is shown, and no page has inline scripts, styles or handlers."""
    job = failed_job(conn, error=EVIL, message=EVIL, action=EVIL, tenant=EVIL, id=EVIL, data={EVIL: EVIL})
    paths = (
        "/",
        "/jobs",
        f"/jobs/{job}",
        f"/jobs/retry?job={job}",
        "/workers",
        "/jobs?action=" + EVIL + "&error=" + EVIL,
    )
    for path in (*paths, "/jobs/retry?all=on&action=" + EVIL):
        page = browser.get(path).text
        assert "<img src=x" not in page, path
        assert not INLINE.search(page.replace("onerror=alert", "")), path


def test_a_database_that_is_away_is_a_page_in_plain_words() -> None:
    """Every page says with 503 that the trail cannot be read, and no detail of the connection."""
    away = Settings(dsn="host=127.0.0.1 port=1 user=ada dbname=secret")
    with browser_of(create_app(away, Someone())) as browser:
        for path in ("/", "/overview/live", "/jobs", "/jobs/7", "/jobs/retry?all=on", "/workers"):
            answer = browser.get(path)
            assert answer.status_code == 503, path
            assert "The audit trail cannot be reached" in answer.text
            assert "secret" not in answer.text


def test_a_locked_table_costs_only_the_sizes(browser: Browser, dsn: str) -> None:
    """While a table is rewritten, the page says why it has no sizes, and has all the rest."""
    with psycopg.connect(dsn) as conn:
        conn.execute("LOCK TABLE pgaudit.acknowledged_jobs IN ACCESS EXCLUSIVE MODE")
        page = browser.get("/")
    assert page.status_code == 200
    assert "A table is locked" in page.text


def test_all_who_watch_share_a_look(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty windows that load the page at once look at the database once or twice, not twenty times."""
    looks: list[Any] = []
    look = figures.look

    def counted(*given: Any, **named: Any) -> figures.Figures:
        looks.append(given)
        return look(*given, **named)

    monkeypatch.setattr(figures, "look", counted)
    with browser_of(create_app(settings, Someone())) as browser, ThreadPoolExecutor(20) as threads:
        pages = list(threads.map(lambda _: browser.get("/overview/live"), range(20)))
    assert {page.status_code for page in pages} == {200}
    assert 1 <= len(looks) < 5


def test_who_sees_a_part_learns_no_numbers_of_the_whole(settings: Settings, conn: psycopg.Connection) -> None:
    """The sentence and the lag are for everyone; counts, sizes and the jobs of others are not."""
    failed_job(conn, message="mine", action="claim.mine", tenant="north")
    failed_job(conn, message="theirs", action="claim.theirs", tenant="south")
    failed_job(conn, message="nobody's", action="claim.nobodys")
    with browser_of(create_app(settings, Someone(sees=NORTH))) as browser:
        page = browser.get("/").text
    assert "claim.mine" in page
    assert "claim.theirs" not in page
    assert "claim.nobodys" not in page
    assert "Lag from recording to persisting" in page
    for hidden in ("Events persisted", "Workers alive", "Storage", "Largest tables", "audit_jobs"):
        assert hidden not in page


def test_who_sees_no_tenant_sees_no_job(settings: Settings, conn: psycopg.Connection) -> None:
    """An empty set of tenants, and a scope with a search, show nothing of the queue."""
    job = failed_job(conn, action="claim.secret", tenant="north")
    for scope in (Scope(tenants=frozenset()), Scope(query="action:claim.*"), Scope(frozenset({"north"}), "-tenant:x")):
        with browser_of(create_app(settings, Someone(sees=scope))) as browser:
            assert "claim.secret" not in browser.get("/").text
            assert "claim.secret" not in browser.get("/jobs").text
            assert browser.get(f"/jobs/{job}").status_code == 404
