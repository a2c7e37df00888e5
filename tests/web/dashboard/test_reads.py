"""PGAUDIT_RECORD_READS: each page that shows something of an event leaves an event that says who has looked."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.requests import HTTPConnection

from pgaudit import AuditEvent, Settings
from pgaudit.events import AuditContext
from pgaudit.web import create_app
from tests.support.browser import Browser, browser_of
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection
from tests.web.dashboard.someone import Someone, failed_job

VIEWED = """
    SELECT FROM pgaudit.audit_jobs WHERE event->>'action' = 'audit.viewed' AND event #>> '{actor,id}' = 'Ada'
"""


@pytest.fixture
def shown(conn: Connection) -> dict[str, str]:
    """An event with a neighbour that was recorded twice, and a job that has failed."""
    context = AuditContext(request_id="r-1")
    events = [AuditEvent(action="claim.approved", target="claim:7", actor="user:1", context=context) for _ in range(2)]
    assert record_persist_and_commit(conn, *events) == []
    assert record_persist_and_commit(conn, events[0]) == []
    return {"job": str(failed_job(conn, action="claim.paid", tenant="north"))}


@pytest.fixture
def ada(settings: Settings, shown: dict[str, str]) -> Iterator[Browser]:
    """A browser of an application that records looks."""
    assert shown
    app = create_app(settings.model_copy(update={"record_reads": True}), Someone())
    with browser_of(app) as browser:
        yield browser


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/overview/live",
        "/events",
        "/events/0",
        "/events/0/neighbours",
        "/timeline/claim/7",
        "/actors/user/1",
        "/jobs?state=failed",
        "/jobs/{job}",
        "/exports",
        "/api/v1/audit/events",
        "/api/v1/audit/events/0",
        "/api/v1/audit/timeline/claim/7",
    ],
)
def test_each_look_is_recorded(ada: Browser, conn: Connection, shown: dict[str, str], path: str) -> None:
    """By whom, and what it was about; once for each search."""
    assert ada.get(path.format(**shown)).status_code == 200
    assert len(conn.execute(VIEWED).fetchall()) == 1


@pytest.mark.parametrize(
    "path", ["/workers", "/jobs/retry?state=failed&all=on", "/events/count", "/events/99", "/jobs/9999"]
)
def test_what_shows_no_event_is_not_recorded(ada: Browser, conn: Connection, path: str) -> None:
    """Numbers of events and jobs are no content of theirs."""
    assert ada.get(path).status_code in {200, 404}
    assert conn.execute(VIEWED).fetchall() == []


def test_the_role_that_recorded_an_event_again_is_masked_as_in_the_event(
    settings: Settings, shown: dict[str, str], conn: Connection
) -> None:
    """The list of these roles has the path of the field."""
    assert shown
    with browser_of(create_app(settings, Someone(masked=frozenset({"recorded_by"})))) as browser:
        page = browser.get("/events/0").text
    assert "Recorded again" in page
    assert f"by the role {conn.info.user}" not in page
    assert page.count("by the role masked") == 2


@pytest.mark.parametrize("path", ["/timeline/claim/" + "7" * 600, "/timeline/" + "c" * 200 + "/7"])
def test_a_look_at_a_thing_that_no_event_can_be_about_is_recorded(ada: Browser, conn: Connection, path: str) -> None:
    """Its name is too long for a target; the page says that nothing is known of it."""
    assert ada.get(path).status_code == 200
    assert len(conn.execute(VIEWED).fetchall()) == 1


@dataclass(frozen=True)
class Employee:
    """A user with a name that another one has, too."""

    identity: str
    display_name: str = "Ada Smith"


class Payroll(Someone):
    """An access of users that a header identifies."""

    def user(self, request: HTTPConnection) -> object:
        """Returns the user."""
        return Employee(request.headers["X-User"])


def test_users_of_one_name_are_told_apart_by_their_identity(settings: Settings, conn: Connection) -> None:
    """What one has saved is not the other's, and a look is recorded with who it was."""
    with browser_of(create_app(settings.model_copy(update={"record_reads": True}), Payroll())) as browser:
        browser.client.headers["X-User"] = "e-1"
        assert browser.post("/searches", {"name": "mine", "q": "tenant:north"}, "/events").status_code == 303
        assert "tenant:north" in browser.get("/events").text
        browser.client.headers["X-User"] = "e-2"
        assert "tenant:north" not in browser.get("/events").text
    actors = conn.execute("SELECT DISTINCT event->'actor' FROM pgaudit.audit_jobs ORDER BY 1").fetchall()
    assert actors == [({"type": "user", "id": one, "name": "Ada Smith"},) for one in ("e-1", "e-2")]
