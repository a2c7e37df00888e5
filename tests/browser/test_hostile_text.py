"""Text that would run as a script if a page took it for more than text."""

from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from playwright.sync_api import Browser, StorageState

from pgaudit import AuditEvent, Change
from pgaudit.events import Actor, AuditContext, Target
from tests.browser.tab import Site, Tab
from tests.support.jobs import record_persist_and_commit
from tests.web.dashboard.someone import failed_job

pytestmark = pytest.mark.chromium

EVIL: Final = (
    "javascript:ran();<script>ran()</script>\"'><img src=x onerror=ran()>{{ 7*7 }}${ran()}</title></textarea>"
    "<svg onload=ran()>-->]]><iframe srcdoc='<script>parent.ran()</script>'></iframe>"
)
SAW = "window.evil = []; window.ran = () => window.evil.push(location.href);"


@pytest.fixture
def curious(site: Site, chromium: Browser, login: StorageState) -> Iterator[Tab]:
    """A tab that notices when a text runs. It has no policy that would stop it: escaping alone must."""
    with Tab.opened(chromium, site, storage_state=login, bypass_csp=True) as tab:
        tab.page.add_init_script(SAW)
        yield tab


def test_no_field_of_an_event_runs(curious: Tab, conn: psycopg.Connection) -> None:
    """On the pages of the event, its target and its actor, in the list of events, in the live tail, and as a search."""
    page, text = curious.page, EVIL
    page.goto("/events")
    assert record_persist_and_commit(conn, hostile_event(text)) == []
    live = page.get_by_role("link", name="evil.tried").first
    live.wait_for()
    event = live.get_attribute("href") or ""
    job = failed_job(conn, error=text[:100], message=text, action=text, tenant=text)
    quoted = f"tenant:{quote(text)}"
    paths = [event, "/jobs", f"/jobs/{job}", "/", "/exports", f"/jobs?action={text}"]
    for path in (*paths, f"/events?q={text}", f"/exports?q={text}", f"/timeline/claim/7?as_of={text}"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
    page.goto(event)
    page.get_by_role("link", name=f"claim:{text}").first.click()
    page.get_by_role("heading", name="Latest state").wait_for()
    page.goto(event)
    page.get_by_role("link", name=f"user:{text}").first.click()
    page.goto("/events")
    page.get_by_role("searchbox", name="Search").fill(quoted)
    page.get_by_role("button", name="Search").click()
    page.get_by_text("Saved searches").click()
    page.get_by_label("Name for this search").fill(text)
    page.get_by_role("button", name="Save this search").click()
    page.locator("summary", has_text="Saved searches").click()
    page.get_by_role("button", name=f"Delete the saved search {text}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.evil") == []


def hostile_event(text: str) -> AuditEvent:
    """Returns an event with the text in every field that takes one."""
    return AuditEvent(
        action="evil.tried",
        actor=Actor(type="user", id=text, name=text, on_behalf_of=text),
        targets=[Target(type="claim", id=text, name=text, role=text)],
        reason=text,
        tenant=text,
        context=AuditContext(request_id=text, ip=text, user_agent=text, session_id=text, trace_id=text),
        changes=[Change(path=text, before=text, after={text: [text]})],
        data={text: {"inner": text}, "list": [text] * 40},
    )


def quote(text: str) -> str:
    """Returns a text as a value of a search."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
