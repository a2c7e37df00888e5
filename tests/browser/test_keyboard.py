"""The keyboard alone, from the login to a retry, and where its focus is meanwhile."""

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import story
from tests.browser.tab import Site, Tab
from tests.support.http import TOKEN

pytestmark = pytest.mark.chromium

MOST_KEYS = 60
FOCUS = """() => {
    const { activeElement: element } = document;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const isSeen = box.bottom > 0 && box.top < innerHeight && box.width > 0;
    return { name: element.ariaLabel || element.labels?.[0]?.innerText || element.innerText || "",
             tag: element.localName, isSeen, hasOutline: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
}"""
STATUS = "SELECT status::text FROM pgaudit.audit_jobs WHERE id = %s"


def tab_to(page: Page, name: str, tag: str = "a") -> None:
    """Presses Tab until the element of that name has the focus; each one on the way shows that it has it."""
    for _ in range(MOST_KEYS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus["tag"] != "body":
            assert focus["isSeen"], focus
            assert focus["hasOutline"], focus
        if focus["name"].strip() == name and focus["tag"] == tag:
            return
    pytest.fail(f"{MOST_KEYS} times Tab do not reach {name!r} on {page.url}")


def follow(page: Page, name: str, url: str, tag: str = "a") -> None:
    """Goes to a link or button by keys, presses it, and waits for the page to which it leads."""
    tab_to(page, name, tag)
    page.keyboard.press("Enter")
    page.wait_for_url(url)


def test_a_person_without_a_mouse_searches_exports_and_retries(
    site: Site, chromium: Browser, conn: psycopg.Connection, tmp_path: Path
) -> None:
    """From the login over a search, an event and a timeline to an export; then a failed job is retried."""
    with Tab.opened(chromium, site) as tab:
        page, keyboard = tab.page, tab.page.keyboard
        page.goto("/events")
        keyboard.type(TOKEN)  # the field has the focus
        keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Events", exact=True)).to_be_visible()

        keyboard.press("/")
        keyboard.type("action:claim.corrected")
        keyboard.press("Enter")
        page.wait_for_url("**q=action*")
        follow(page, "claim.corrected", "**/events/*")
        follow(page, "claim:7", "**/timeline/claim/7")
        expect(page.get_by_role("heading", name="Latest state")).to_be_visible()

        follow(page, "Export …", "**/exports?*")
        tab_to(page, "NDJSON: an event in each line, exactly as it is stored", "input")
        keyboard.press("ArrowDown")
        tab_to(page, "Export", "button")
        with page.expect_download() as download:
            keyboard.press("Enter")
        download.value.save_as(tmp_path / "claim.csv")
        assert len((tmp_path / "claim.csv").read_text().splitlines()) == 1 + len(story.LIFE)

        page.goto("/")
        follow(page, "Jobs", "**/jobs")
        follow(page, str(story.FIRST_FAILED), f"**/jobs/{story.FIRST_FAILED}")
        follow(page, "Retry …", "**/jobs/retry?*")
        follow(page, "Retry", "**/jobs?*", "button")
        expect(page.get_by_role("status")).to_contain_text("1 job waits again")
    assert conn.execute(STATUS, [story.FIRST_FAILED]).fetchone() == ("todo",)


def test_the_first_key_skips_the_menu(tab: Tab) -> None:
    """The link is not seen until it has the focus, and leads to the content."""
    tab.page.goto("/jobs")
    tab_to(tab.page, "Skip to the content")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.closest('main') !== null")


def test_a_question_keeps_the_focus_and_gives_it_back(tab: Tab) -> None:
    """Escape answers no."""
    tab.page.goto("/events")
    tab.page.get_by_text("Saved searches").click()
    tab.page.get_by_label("Name for this search").fill("Mine")
    tab.page.get_by_role("button", name="Save this search").click()
    tab.page.get_by_text("Saved searches (1)").click()
    delete = tab.page.get_by_role("button", name="Delete the saved search Mine")
    delete.press("Enter")
    expect(tab.page.get_by_role("dialog")).to_contain_text("Delete the saved search “Mine”?")
    assert tab.violations() == []
    tab.page.keyboard.press("Escape")
    expect(delete).to_be_focused()
    delete.press("Enter")
    tab_to(tab.page, "Delete", "button")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_text("Saved searches", exact=True)).to_be_visible()
