"""Addresses keep what a page shows: back, reload and links lead to the same; and the viewer's clock and scheme."""

import re

import pytest
from playwright.sync_api import Browser, StorageState, expect

from tests.browser.tab import Site, Tab

pytestmark = pytest.mark.chromium

FOUND = "6 events"


def test_back_and_reload_keep_the_filters(tab: Tab) -> None:
    """Also a filter that was added by the form, or removed by its chip."""
    page = tab.page
    page.goto("/events")
    page.get_by_role("searchbox", name="Search").fill("target:claim:7")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text(FOUND, exact=True)).to_be_visible()
    page.get_by_text("Add a filter").click()
    page.get_by_label("Field").select_option("outcome")
    page.get_by_label("Value").fill("denied")
    page.get_by_label("Exclude").check()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("5 events", exact=True)).to_be_visible()
    page.get_by_role("link", name="claim.corrected", exact=True).click()
    page.get_by_role("heading", name="claim.corrected").wait_for()
    page.go_back()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("target:claim:7 -outcome:denied")
    page.reload()
    expect(page.get_by_text("5 events", exact=True)).to_be_visible()
    page.get_by_label("Remove the filter -outcome:denied").click()
    expect(page.get_by_text(FOUND, exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_text("5 events", exact=True)).to_be_visible()


def test_pages_of_events_lead_forth_and_back(tab: Tab) -> None:
    """Older and newer, and the browser's own way back."""
    page = tab.page
    page.goto("/events?limit=25&q=tenant:north,south,west")
    newest = page.locator("main tbody th").first.inner_html()
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=before-*")
    assert page.locator("main tbody th").first.inner_html() != newest
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url("**after=after-*")
    assert page.locator("main tbody th").first.inner_html() == newest
    page.go_back()
    page.wait_for_url("**after=before-*")


@pytest.mark.parametrize(
    ("zone", "clock"), [("Asia/Tokyo", "2026-03-02 17:15:00"), ("America/New_York", "2026-03-02 03:15:00")]
)
def test_times_are_those_of_the_viewer(
    site: Site, chromium: Browser, login: StorageState, zone: str, clock: str
) -> None:
    """From the first page on; UTC is in the title, and at the foot the name of the zone."""
    with Tab.opened(chromium, site, storage_state=without_zone(login), timezone_id=zone) as tab:
        tab.page.goto("/events?q=target:claim:7 action:claim.submitted")
        tab.page.get_by_role("link", name="claim.submitted", exact=True).click()
        occurred = tab.page.locator("time", has_text=clock)
        expect(occurred).to_have_attribute("title", re.compile(r"2026-03-02 08:15:00.* UTC"))
        expect(tab.page.locator("[data-zone]")).to_have_text(zone)


def test_the_first_page_that_a_person_sees_has_their_time(site: Site, chromium: Browser, login: StorageState) -> None:
    """The page is loaded again once the zone is known."""
    with Tab.opened(chromium, site, storage_state=without_zone(login), timezone_id="Asia/Tokyo") as tab:
        tab.page.goto("/timeline/claim/7")
        expect(tab.page.locator("time", has_text="17:15:00").first).to_be_visible()


def test_the_scheme_is_that_of_the_system_until_it_is_chosen(tab: Tab) -> None:
    """The choice stays on the next page."""
    tab.page.emulate_media(color_scheme="dark")
    tab.page.goto("/jobs")
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    dark = tab.page.evaluate(background)
    tab.page.get_by_role("button", name="Dark or light").click()
    light = tab.page.evaluate(background)
    assert light != dark
    tab.page.goto("/workers")
    assert tab.page.evaluate(background) == light


def without_zone(login: StorageState) -> StorageState:
    """Returns the cookies of a login but the one with the time zone."""
    kept = [cookie for cookie in login.get("cookies", []) if cookie.get("name") != "pgaudit_tz"]
    return {"cookies": kept}
