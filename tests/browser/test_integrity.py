"""A log that was tampered with, in Chromium: what was found, and the proof of an event as a file."""

import psycopg
import pytest

from pgaudit.worker.verification import verify_once
from tests.browser.looks import check_each_look
from tests.browser.tab import Tab
from tests.support.tampering import tamper

pytestmark = pytest.mark.chromium

FORGE = 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 144'


def test_the_proof_of_an_event_is_a_file(tab: Tab) -> None:
    """Which the browser saves under the event's index."""
    tab.page.goto("/events/144")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name="Download the proof").click()
    assert download.value.suggested_filename == "144.tlog-proof"
    assert download.value.path().read_text().startswith("c2sp.org/tlog-proof@v1\nindex 144\n")


def test_findings_are_shown_and_lead_to_the_event(tab: Tab, conn: psycopg.Connection) -> None:
    """On the overview, the page of the integrity and that of the event, in each look."""
    tamper(conn, FORGE)
    verify_once(tab.site.signer)
    tab.page.goto("/")
    check_each_look(tab)
    tab.page.get_by_role("main").get_by_role("link", name="Integrity").click()
    tab.page.get_by_role("heading", name="The log does not verify.").wait_for()
    check_each_look(tab)
    tab.page.get_by_role("link", name="Event 144").click()
    tab.page.get_by_text("A verification has found this").wait_for()
    check_each_look(tab)
    assert tab.page.get_by_role("link", name="Download the proof").count() == 0
