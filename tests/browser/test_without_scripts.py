"""JavaScript off: links and forms are enough."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser import story
from tests.browser.tab import Site, Tab
from tests.support.http import TOKEN

pytestmark = pytest.mark.chromium

STATUS = "SELECT status::text FROM pgaudit.audit_jobs WHERE id = ANY (%s) ORDER BY id"


@pytest.fixture
def page(site: Site, chromium: Browser, login: StorageState) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    with Tab.opened(chromium, site, storage_state=login, java_script_enabled=False) as tab:
        yield tab.page


def test_somebody_logs_in_and_out(site: Site, chromium: Browser) -> None:
    """And is led to the page that they wanted."""
    with Tab.opened(chromium, site, java_script_enabled=False) as tab:
        tab.page.goto("/workers")
        tab.page.get_by_label("Admin token").fill(TOKEN)
        tab.page.get_by_role("button", name="Log in").click()
        expect(tab.page.get_by_role("heading", name="Workers")).to_be_visible()
        expect(tab.page.locator("[data-theme-toggle]")).to_be_hidden()
        tab.page.get_by_role("button", name="Log out").click()
        expect(tab.page.get_by_role("heading", name="Log in")).to_be_visible()
        tab.page.goto("/workers")
        expect(tab.page.get_by_role("heading", name="Log in")).to_be_visible()


def test_events_are_searched_counted_and_read(page: Page) -> None:
    """With a filter of the form, over an event and its request to a timeline and its states."""
    page.goto("/events")
    page.get_by_role("link", name="Count the events").click()
    expect(page.get_by_text("146 events", exact=True)).to_be_visible()
    page.get_by_role("searchbox", name="Search").fill("target:claim:7")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("Add a filter").click()
    page.get_by_label("Field").select_option("action")
    page.get_by_label("Value").fill("claim.paid")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("1 event", exact=True)).to_be_visible()
    page.get_by_role("link", name="claim.paid", exact=True).click()
    expect(page.get_by_text("✓ Unchanged.")).to_be_visible()
    page.get_by_role("link", name="Search for events of the same request").click()
    expect(page.locator("main tbody tr")).to_have_count(2)
    page.get_by_role("link", name="claim:7", exact=True).first.click()
    page.get_by_label("State at").fill("2026-03-05")
    page.get_by_label("Compared with").fill("2026-03-03")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    expect(page.get_by_role("region", name="What differs between the two moments")).to_contain_text("clerk")


def test_an_export_is_downloaded(page: Page, tmp_path: Path) -> None:
    """As the form says."""
    page.goto("/exports?q=target:claim:7")
    page.get_by_label("CSV: a table for spreadsheets").check()
    page.get_by_text("Options of the tables").click()
    page.get_by_label("Further columns").fill("data.payment")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    download.value.save_as(tmp_path / "claim.csv")
    lines = (tmp_path / "claim.csv").read_text().splitlines()
    assert len(lines) == 1 + len(story.LIFE)
    assert "data.payment" in lines[0]


def test_searches_are_saved_and_deleted(page: Page) -> None:
    """Under a name."""
    page.goto("/events?q=outcome:denied")
    page.get_by_text("Saved searches").click()
    page.get_by_label("Name for this search").fill("Denied")
    page.get_by_role("button", name="Save this search").click()
    page.goto("/events")
    page.get_by_text("Saved searches (1)").click()
    page.get_by_role("link", name="Denied").click()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("outcome:denied")
    page.get_by_text("Saved searches (1)").click()
    page.get_by_role("button", name="Delete the saved search Denied").click()
    expect(page.get_by_text("Saved searches", exact=True)).to_be_visible()


def test_jobs_are_retried(page: Page, conn: psycopg.Connection) -> None:
    """One, some, and all that match, after a question."""
    jobs = [story.FIRST_FAILED + n for n in range(3)]
    page.goto("/jobs")
    page.get_by_label(f"Select job {jobs[0]}").check()
    page.get_by_role("button", name="Retry selected …").click()
    expect(page.get_by_role("heading", name=f"Retry job {jobs[0]}?")).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("1 job waits again")
    page.get_by_label("Action").fill("policy.*")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Retry all that match …").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("1 job waits again")
    assert conn.execute(STATUS, [jobs]).fetchall() == [("todo",), ("failed",), ("todo",)]
