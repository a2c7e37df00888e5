"""The pages of the streams in Chromium: each look, and operating one."""

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import expect

from pgaudit import streams
from tests.browser import streaming
from tests.browser.looks import check_each_look
from tests.browser.tab import Tab

pytestmark = pytest.mark.chromium


@pytest.fixture
def streamed(conn: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """The site with four streams: one is failing, two are paused, one has parked events and is replayed."""
    conn.autocommit = True
    for stream in streams.listed(conn):
        streams.remove(conn, stream.name)
    streaming.give(conn, tmp_path)
    streams.replay(conn, "siem", 20, 60)
    return conn


def test_the_pages_are_accessible_and_fit(tab: Tab, streamed: psycopg.Connection) -> None:
    """In each scheme and width; the menu has them, and the list leads to a stream."""
    assert streamed
    tab.page.goto("/")
    tab.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Streams").click()
    tab.page.get_by_text("4 streams send what is in the log").wait_for()
    check_each_look(tab)
    for name in ("siem", "webhook-of-the-insurance-supervision", "otlp"):
        tab.page.set_viewport_size({"width": 1280, "height": 800})
        tab.page.goto("/streams")
        tab.page.get_by_role("link", name=name, exact=True).click()
        tab.page.get_by_role("heading", name=name, exact=True).wait_for()
        check_each_look(tab)


def test_an_operator_sets_a_stream_back_and_gives_an_event_up(tab: Tab, streamed: psycopg.Connection) -> None:
    """Asked first where much is sent again; the reason of what is given up is needed."""
    tab.page.goto("/streams/siem")
    tab.page.get_by_label("Move to event").fill("140")
    tab.page.get_by_role("button", name="Move the stream").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Move siem to another event?")
    dialog.get_by_role("button", name="Cancel").click()
    assert streams.found(streamed, "siem").next_index == 146
    tab.page.get_by_role("button", name="Move the stream").click()
    dialog.get_by_role("button", name="Move").click()
    tab.page.get_by_text("The stream continues with that event").wait_for()
    assert streams.found(streamed, "siem").next_index == 140
    tab.page.get_by_label("Discard event 12").click()
    discard = tab.page.get_by_role("button", name="Discard event 12")
    discard.click()
    assert tab.page.url.endswith("/streams/siem?done=rewound")
    tab.page.get_by_label("Reason", exact=True).first.fill("a test")
    discard.click()
    tab.page.get_by_text("The event is discarded.").wait_for()
    assert [one.index for one in streams.parked(streamed, "siem")] == []


@pytest.mark.usefixtures("streamed")
def test_forms_are_not_printed(tab: Tab) -> None:
    """What is known of the stream is."""
    tab.page.goto("/streams/siem")
    tab.page.emulate_media(media="print")
    expect(tab.page.get_by_role("heading", name="History")).to_be_visible()
    expect(tab.page.get_by_role("heading", name="Operate")).to_be_hidden()
    expect(tab.page.get_by_role("button", name="Send a test")).to_be_hidden()
