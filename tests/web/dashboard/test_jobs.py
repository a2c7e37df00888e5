"""The pages of the jobs: lists by state, filters, pages, and one job with all that has gone wrong."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.grants import grant
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.browser import Browser, browser_of
from tests.support.jobs import fetch_and_commit, insert_poison_and_commit, queue_events, register_and_commit
from tests.support.roles import temporary_roles
from tests.web.dashboard.someone import FAIL, NOTE, Someone, failed_job

LISTED = re.compile(r'<th class="num" scope="row" data-label="Job"><a href="/jobs/(\d+)"')


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    """A browser of a user who sees everything."""
    with browser_of(create_app(settings, Someone())) as browser:
        yield browser


def listed(page: str) -> list[int]:
    """Returns the numbers of the jobs in a list."""
    return [int(number) for number in LISTED.findall(page)]


def test_each_state_has_its_list(browser: Browser, dsn: str, conn: psycopg.Connection) -> None:
    """A job is in the list of its state; a stalled one among the active ones as well."""
    queue_events(dsn, 3)
    _, token = register_and_commit(conn, stalled_after="0 s")
    stalled = fetch_and_commit(conn, token)
    failed = failed_job(conn, action="claim.paid")
    later = insert_poison_and_commit(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 hour' WHERE id = %s", [later])
    conn.commit()
    lists = {
        state: browser.get(f"/jobs?state={state}").text
        for state in ("failed", "stalled", "delayed", "active", "waiting")
    }
    assert listed(lists["failed"]) == listed(browser.get("/jobs").text) == [failed]
    assert listed(lists["stalled"]) == listed(lists["active"]) == [stalled]
    assert listed(lists["delayed"]) == [later]
    assert len(listed(lists["waiting"])) == 2
    for page in lists.values():
        counts = re.findall(r'class="tab-count">(\d+)<', page)
        assert counts == ["1", "1", "1", "1", "2"]
    assert "silent for" in lists["stalled"]


def test_a_queue_without_jobs_says_so(browser: Browser) -> None:
    """Each empty list has a sentence."""
    for state in ("failed", "stalled", "delayed", "active", "waiting"):
        answer = browser.get(f"/jobs?state={state}")
        assert answer.status_code == 200
        assert f"No {state} job" in answer.text


def test_pages_lead_through_the_list(browser: Browser, conn: psycopg.Connection) -> None:
    """The link to the next page keeps the filter, and the last page has none."""
    ids = [failed_job(conn, action="claim.paid") for _ in range(51)]
    failed_job(conn, action="policy.issued")
    first = browser.get("/jobs?state=failed&action=claim.*").text
    link = re.search(r'rel="next" href="([^"]*)"', first)
    assert link
    assert "action=claim.%2A" in link[1]
    last = browser.get(link[1].replace("&amp;", "&")).text
    assert listed(first) + listed(last) == ids
    assert 'rel="next"' not in last
    assert "First page" in last


def test_delayed_jobs_are_paged_by_when_they_run(browser: Browser, conn: psycopg.Connection) -> None:
    """The cursor of that list has a moment in it."""
    ids = [insert_poison_and_commit(conn) for _ in range(52)]
    conn.execute("UPDATE pgaudit.audit_jobs SET scheduled_at = now() + (100 - id) * interval '1 minute'")
    conn.commit()
    link = re.search(r'rel="next" href="([^"]*)"', browser.get("/jobs?state=delayed").text)
    assert link
    assert listed(browser.get(link[1].replace("&amp;", "&")).text) == [ids[1], ids[0]]


def test_a_filter_is_in_the_address_and_in_the_form(browser: Browser, conn: psycopg.Connection) -> None:
    """Action and class of the last error narrow the list; a list without a match says so."""
    paid = failed_job(conn, "CheckViolation", action="claim.paid")
    other = failed_job(conn, "DataCorrupted", action="claim.closed")
    assert listed(browser.get("/jobs?action=claim.paid").text) == [paid]
    assert listed(browser.get("/jobs?action=claim.*&error=DataCorrupted").text) == [other]
    nothing = browser.get("/jobs?action=nothing").text
    assert listed(nothing) == []
    assert "No job in this state matches the filter." in nothing
    assert 'value="nothing"' in nothing


@pytest.mark.parametrize(
    "query", ["state=x", "state=", "after=x", "after=1_x", "after=0", "after=-1", "after=99999999999999999999"]
)
def test_an_address_that_makes_no_sense_is_422(browser: Browser, query: str) -> None:
    """The page says what is wrong."""
    assert browser.get(f"/jobs?{query}").status_code == 422


@pytest.mark.parametrize(
    "action",
    [
        "\0",
        "%",
        "'; DROP TABLE x --",
        "x" * 10_000,
        "*",
        "\\",
        "\udcff".encode(errors="surrogateescape").decode("latin-1"),
    ],
)
def test_any_text_is_a_filter(browser: Browser, action: str) -> None:
    """A filter is compared as it is, whatever it contains."""
    assert browser.get("/jobs", params={"action": action, "error": action}).status_code == 200


def test_a_job_shows_its_event_and_all_its_errors(browser: Browser, conn: psycopg.Connection) -> None:
    """The newest error is first, tracebacks are folded, and numbers have the digits that are stored."""
    job = failed_job(conn, "CheckViolation", "the last", action="claim.paid", data={"number": 12345678901234567890})
    conn.execute(NOTE, [job, 1, "DataCorrupted", "later", "line 7"])
    conn.execute(
        "ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER reject_event_update;"
        """UPDATE pgaudit.audit_jobs SET event = event || '{"amount": 1000.00, "tiny": 0.0000001}'"""
    )
    conn.commit()
    page = browser.get(f"/jobs/{job}").text
    assert "12345678901234567890" in page
    assert "&#34;amount&#34;: 1000.00" in page
    assert "&#34;tiny&#34;: 0.0000001" in page
    assert page.index("later") < page.index("the last")
    assert page.count("<summary>Traceback</summary>") == 2
    assert "line 7" in page


@pytest.mark.parametrize(
    "event", ["{}", "[]", '"text"', "7", "null", '{"action": 7, "tenant": [], "recorded_at": "x"}', '{"changes": 7}']
)
@pytest.mark.parametrize("masked", [frozenset[str](), frozenset({"data.iban"})])
def test_a_broken_event_can_be_looked_at(
    settings: Settings, conn: psycopg.Connection, event: str, masked: frozenset[str]
) -> None:
    """The jobs that fail are the broken ones: none keeps its page, or its list, from being shown."""
    job = insert_poison_and_commit(conn, event)
    conn.execute(FAIL, [[job]])
    conn.commit()
    with browser_of(create_app(settings, Someone(masked=masked))) as browser:
        assert browser.get(f"/jobs/{job}").status_code == 200
        assert listed(browser.get("/jobs").text) == [job]


@pytest.mark.parametrize(("number", "status"), [("7", 404), ("0", 422), ("x", 422), ("9" * 30, 422), ("-1", 422)])
def test_a_job_that_is_not_there(browser: Browser, number: str, status: int) -> None:
    """The page says that a job leaves the queue when its event is in the log."""
    answer = browser.get(f"/jobs/{number}")
    assert answer.status_code == status
    if status == 404:
        assert "a job leaves it when its event is in the log" in answer.text


def test_a_scoped_viewer_sees_the_jobs_of_their_tenants(settings: Settings, conn: psycopg.Connection) -> None:
    """Others are neither in a list nor on a page of their own, whatever the filter says; no count is shown."""
    mine = failed_job(conn, action="claim.paid", tenant="north")
    hidden = [failed_job(conn, action="claim.paid", tenant="south"), failed_job(conn, action="claim.paid")]
    with browser_of(create_app(settings, Someone(sees=Scope(frozenset({"north"}))))) as browser:
        for query in ("", "?action=claim.*", "?error=CheckViolation", "?action=claim.paid&tenant=south"):
            page = browser.get(f"/jobs{query}").text
            assert listed(page) == [mine], query
            assert "tab-count" not in page
        assert browser.get(f"/jobs/{mine}").status_code == 200
        assert {browser.get(f"/jobs/{job}").status_code for job in hidden} == {404}


def test_a_masked_value_is_nowhere(settings: Settings, conn: psycopg.Connection) -> None:
    """Errors quote values, so that they are withheld where a value of the event is masked; the class stays."""
    job = failed_job(conn, message="bad iban DE02", action="claim.paid", data={"iban": "DE02", "bank": "x"})
    plain = failed_job(conn, message="bad name", action="claim.paid", data={"bank": "x"})
    with browser_of(create_app(settings, Someone(masked=frozenset({"data.iban"})))) as browser:
        pages = [browser.get(path).text for path in ("/", "/jobs", f"/jobs/{job}")]
        assert "bad name" in browser.get(f"/jobs/{plain}").text
    for page in pages:
        assert "DE02" not in page
        assert "Withheld" in page
        assert "CheckViolation" in page
    assert "&#34;iban&#34;: &#34;masked&#34;" in pages[2]


def test_a_masked_action_cannot_be_guessed(settings: Settings, conn: psycopg.Connection) -> None:
    """A filter by a value that is hidden from the viewer would say whether a guess is right."""
    failed_job(conn, action="claim.secret")
    with browser_of(create_app(settings, Someone(masked=frozenset({"action"})))) as browser:
        assert "claim.secret" not in browser.get("/jobs").text
        for path in ("/jobs?action=claim.*", "/jobs/retry?all=on&action=claim.secret"):
            assert browser.get(path).status_code == 403


def test_a_reader_role_looks_at_everything(dsn: str, settings: Settings, conn: psycopg.Connection) -> None:
    """The rights of a reader are enough for all pages; a role without rights is told what is missing."""
    job = failed_job(conn, action="claim.paid")
    with temporary_roles(dsn, "t_pages"):
        given = settings.model_copy(update={"dsn": psycopg.conninfo.make_conninfo(dsn, user="t_pages")})
        paths = ("/", "/jobs", "/jobs?state=stalled", f"/jobs/{job}", "/jobs/retry?all=on", "/workers")
        with browser_of(create_app(given, Someone())) as browser:
            assert browser.get("/jobs").status_code == 503
            grant(conn, reader="t_pages")
            conn.commit()
            assert {path: browser.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)
