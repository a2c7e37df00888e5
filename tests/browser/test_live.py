"""Parts that renew themselves: they follow what happens, and stand still when nobody watches."""

import psycopg
import pytest
from playwright.sync_api import Page, expect

from pgaudit import AuditEvent
from pgaudit.web.dashboard import live_tail
from tests.browser.tab import Tab
from tests.support.jobs import record_and_commit, record_persist_and_commit

pytestmark = pytest.mark.chromium

# Chromium without a screen has one window, always in front. The page is told otherwise as a browser would tell it.
HIDE = """
    Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
"""
SHOW = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'));"
BLUR = "document.hasFocus = () => false; dispatchEvent(new Event('blur'));"
FOCUS = "delete document.hasFocus; dispatchEvent(new Event('focus'));"
ROWS = "main tbody tr"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks more often than in production."""
    monkeypatch.setattr(live_tail, "PAUSE_SECONDS", 0.05)


def happen(conn: psycopg.Connection, action: str, count: int = 1) -> None:
    """Records and persists events."""
    events = (AuditEvent(action=action, actor="user:live", target=f"claim:{n}") for n in range(count))
    assert record_persist_and_commit(conn, *events) == []


def rows(page: Page, action: str) -> int:
    """Returns how many rows of the action the page shows."""
    return page.locator(ROWS).filter(has_text=action).count()


def test_events_appear_as_they_come_into_the_log(tab: Tab, conn: psycopg.Connection) -> None:
    """The newest above, those of other searches not at all, and also on a page that was empty."""
    tab.page.goto("/events?q=action:live.*")
    expect(tab.page.get_by_role("heading", name="No event")).to_be_visible()
    happen(conn, "live.begun")
    happen(conn, "other.happened")
    happen(conn, "live.ended")
    expect(tab.page.locator(ROWS)).to_have_count(2)
    assert "live.ended" in tab.page.locator(ROWS).first.inner_text()
    expect(tab.page.get_by_role("heading", name="No event")).to_be_hidden()
    assert tab.violations() == []


@pytest.fixture(params=[(HIDE, SHOW), (BLUR, FOCUS)], ids=["hidden", "without focus"])
def away_and_back(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What takes the attention from the page, and what gives it back."""
    away, back = request.param
    return away, back


def test_the_tail_stands_still_while_nobody_watches(
    tab: Tab, conn: psycopg.Connection, away_and_back: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    """Its stream ends; what happened meanwhile comes once somebody watches again."""
    action = "absent.hidden" if "hidden" in request.node.name else "absent.blurred"
    away, back = away_and_back
    tab.page.goto(f"/events?q=action:{action}")
    state = tab.page.locator("[data-live-state]")
    expect(state).to_have_text("Live")
    happen(conn, action)
    expect(tab.page.locator(ROWS)).to_have_count(1)
    tab.page.evaluate(away)
    expect(state).to_have_text("Paused: this window is in the background")
    with tab.page.expect_request("**/events/live**") as resumed:
        happen(conn, action, 2)
        tab.page.wait_for_timeout(500)  # ten times as long as the server waits between two looks
        assert rows(tab.page, action) == 1
        tab.page.evaluate(back)
    expect(tab.page.locator(ROWS)).to_have_count(3)
    assert "last=" in resumed.value.url


def test_the_tail_can_be_stopped_and_continued(tab: Tab, conn: psycopg.Connection) -> None:
    """By a button that says what it does."""
    tab.page.goto("/events?q=action:stopped.*")
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.page.locator("[data-live-state]")).to_have_text("Stopped")
    happen(conn, "stopped.meanwhile")
    tab.page.wait_for_timeout(500)
    assert rows(tab.page, "stopped.meanwhile") == 0
    tab.page.get_by_role("button", name="Continue").click()
    expect(tab.page.locator(ROWS)).to_have_count(1)


def test_the_overview_renews_itself(tab: Tab, conn: psycopg.Connection) -> None:
    """Without being loaded again."""
    tab.page.goto("/")
    waiting = tab.page.locator(".stat", has_text="Waiting").locator(".stat-value")
    before = int(waiting.inner_text())
    record_and_commit(conn, *(AuditEvent(action="claim.queued") for _ in range(3)))
    expect(waiting).to_have_text(str(before + 3))
