"""Every page in Chromium: light and dark, wide and narrow."""

from typing import Final

import pytest
from playwright.sync_api import Browser

from tests.browser import story
from tests.browser.looks import check_each_look
from tests.browser.tab import Site, Tab

pytestmark = pytest.mark.chromium

PAGES: Final = {
    "overview": "/",
    "events": "/events?limit=25",
    "events-found": "/events?q=action:claim.* tenant:north,south -outcome:denied&limit=25&count=1",
    "events-none": "/events?q=tenant:nowhere",
    "events-misread": "/events?q=tenat:north",
    "event": "/events/144",
    "timeline": "/timeline/claim/7",
    "timeline-compared": "/timeline/claim/7?as_of=145&compare=141",
    "timeline-none": "/timeline/claim/none",
    "actor": "/actors/user/42",
    "jobs": "/jobs",
    "jobs-delayed": "/jobs?state=delayed",
    "jobs-none": "/jobs?state=active",
    "job": "/jobs/{failed}",
    "retry": "/jobs/retry?all=on",
    "workers": "/workers",
    "integrity": "/integrity",
    "coverage": "/coverage",
    "exports": "/exports?q=target:claim:7",
    "missing": "/nothing",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits_in_each_scheme_and_width(tab: Tab, name: str) -> None:
    """axe-core finds nothing; no page is wider than a phone, at 200 % zoom and text; no error, no other host."""
    tab.page.goto(PAGES[name].format(failed=story.FIRST_FAILED))
    tab.page.wait_for_load_state("networkidle")
    check_each_look(tab)


def test_the_login_is_accessible_and_fits(site: Site, chromium: Browser) -> None:
    """Also with a wrong token."""
    with Tab.opened(chromium, site) as tab:
        tab.page.goto("/events?q=tenant:north")
        check_each_look(tab)
        tab.page.get_by_label("Admin token").fill("wrong")
        tab.page.get_by_role("button", name="Log in").click()
        tab.page.get_by_role("alert").wait_for()
        check_each_look(tab)
