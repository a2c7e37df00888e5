"""Retrying from the dashboard: one job, some, or all that match; asked first, and never for who may not."""

import re
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from pgaudit import Settings
from pgaudit.grants import grant
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from pgaudit.web.dashboard import job_retries
from tests.support.browser import Browser, browser_of
from tests.support.queries import Connection, rows_and_commit
from tests.support.roles import temporary_roles
from tests.web.dashboard.someone import Someone, failed_job

FAILED = "SELECT id FROM pgaudit.audit_jobs WHERE status = 'failed' ORDER BY id"
Fields = dict[str, str | list[str]]


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    """A browser of a user who may retry."""
    with browser_of(create_app(settings, Someone())) as browser:
        yield browser


def failed(conn: Connection) -> list[int]:
    """Returns the numbers of the jobs that have failed."""
    return [job for (job,) in rows_and_commit(conn, FAILED)]


def retry(browser: Browser, asked: str, **fields: str | list[str]) -> httpx.Response:
    """Sends the form of the page that asks."""
    token = browser.form_token(f"/jobs/retry?{asked}")
    return browser.client.post("/jobs/retry", data={"form_token": token, "state": "failed"} | fields)


def test_one_job_is_retried(browser: Browser, conn: psycopg.Connection) -> None:
    """The page of a job leads to the question, and its answer to the list, which says what has happened."""
    job, other = failed_job(conn), failed_job(conn)
    assert f'href="/jobs/retry?job={job}"' in browser.get(f"/jobs/{job}").text
    assert f"Retry job {job}?" in browser.get(f"/jobs/retry?job={job}").text
    assert failed(conn) == [job, other]
    answer = retry(browser, f"job={job}", job=str(job))
    assert answer.status_code == 303
    assert failed(conn) == [other]
    assert "1 job waits again, from the first attempt." in browser.get(answer.headers["Location"]).text


def test_selected_jobs_are_retried(browser: Browser, conn: psycopg.Connection) -> None:
    """Those that have not failed any more are counted, and keep nobody from retrying the others."""
    jobs = [failed_job(conn) for _ in range(3)]
    gone = str(jobs[-1] + 100)
    assert "Retry 2 jobs?" in browser.get(f"/jobs/retry?job={jobs[0]}&job={jobs[1]}").text
    answer = retry(browser, "all=on", job=[str(jobs[0]), str(jobs[1]), gone])
    assert failed(conn) == [jobs[2]]
    page = browser.get(answer.headers["Location"]).text
    assert "2 jobs wait again" in page
    assert "1 of those that you selected had not failed any more" in page


def test_all_that_match_are_retried(browser: Browser, conn: psycopg.Connection) -> None:
    """The question says how many they are, and the filter holds."""
    mine = [failed_job(conn, "CheckViolation", action="claim.paid") for _ in range(3)]
    others = [failed_job(conn, "CheckViolation", action="policy.issued"), failed_job(conn, "X", action="claim.paid")]
    page = browser.get("/jobs/retry?all=on&action=claim.*&error=CheckViolation").text
    assert "Retry 3 jobs?" in page
    answer = retry(browser, "all=on", all="on", action="claim.*", error="CheckViolation")
    assert failed(conn) == others
    assert mine
    assert "3 jobs wait again" in browser.get(answer.headers["Location"]).text


def test_a_great_many_are_retried_in_batches(
    browser: Browser, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request retries some batches, says how many jobs, and offers to go on behind them."""
    conn.execute(
        """INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes, status)
           SELECT '{}', '\\x00', 2, 'failed' FROM generate_series(1, 2500)"""
    )
    conn.commit()
    assert "Retry more than 1,000 jobs?" in browser.get("/jobs/retry?all=on").text
    monkeypatch.setattr(job_retries, "MOST_BATCHES", 2)
    page = browser.get(retry(browser, "all=on", all="on").headers["Location"]).text
    assert "2,000 jobs wait again" in page
    assert len(failed(conn)) == 500
    after = re.search(r'name="after" value="(\d+)"', page)
    assert after
    last = retry(browser, "all=on", all="on", after=after[1])
    assert failed(conn) == []
    assert "500 jobs wait again" in browser.get(last.headers["Location"]).text


def test_nothing_is_retried_by_a_link(browser: Browser, conn: psycopg.Connection) -> None:
    """GET and HEAD only ask."""
    jobs = [failed_job(conn)]
    for path in ("/jobs/retry?all=on", f"/jobs/retry?job={jobs[0]}"):
        assert browser.client.head(path).status_code in {200, 405}
        assert browser.get(path).status_code == 200
    assert failed(conn) == jobs


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_a_form_of_another_site_is_refused(browser: Browser, conn: psycopg.Connection, token: str | None) -> None:
    """Without the token of this user's pages nothing is retried."""
    jobs = [failed_job(conn)]
    browser.get("/jobs/retry?all=on")
    fields = {"state": "failed", "all": "on"} | ({} if token is None else {"form_token": token})
    assert browser.client.post("/jobs/retry", data=fields).status_code == 403
    assert failed(conn) == jobs


@pytest.mark.parametrize(
    "query",
    ["", "state=failed", "job=x", "job=0", "state=waiting&all=on", "&".join(f"job={n}" for n in range(1, 1_002))],
)
def test_a_retry_of_nothing_sensible_is_refused(browser: Browser, query: str) -> None:
    """The page says what to select."""
    assert browser.get(f"/jobs/retry?{query}").status_code == 422


def test_who_may_only_look_cannot_retry(settings: Settings, conn: psycopg.Connection) -> None:
    """No page offers it, and the server refuses what is sent nevertheless."""
    job = failed_job(conn)
    with browser_of(create_app(settings, Someone(may=frozenset({"read"})))) as browser:
        for path in ("/jobs", f"/jobs/{job}"):
            assert "etry" not in re.sub(r"placeholder=\"[^\"]*\"", "", browser.get(path).text)
        assert browser.get(f"/jobs/retry?job={job}").status_code == 403
        answer = browser.client.post("/jobs/retry", data={"state": "failed", "job": str(job)})
    assert answer.status_code == 403
    assert failed(conn) == [job]


@pytest.mark.parametrize("fields", [{"all": "on"}, {"all": "on", "action": "*"}, {"job": "every"}])
def test_a_scoped_viewer_retries_the_jobs_of_their_tenants(
    settings: Settings, conn: psycopg.Connection, fields: Fields
) -> None:
    """Named or not, the jobs of others stay as they are, and are not counted."""
    mine = failed_job(conn, action="claim.paid", tenant="north")
    others = [failed_job(conn, action="claim.paid", tenant="south"), failed_job(conn, action="claim.paid")]
    given = {"job": [str(job) for job in (mine, *others)]} if "job" in fields else fields
    with browser_of(create_app(settings, Someone(sees=Scope(frozenset({"north"}))))) as browser:
        assert "Retry 1 job?" in browser.get("/jobs/retry?all=on").text
        answer = retry(browser, "all=on", **given)
    assert "retried=1" in answer.headers["Location"]
    assert failed(conn) == others


def test_a_database_role_that_may_not_retry_is_told_what_to_grant(
    dsn: str, settings: Settings, conn: psycopg.Connection
) -> None:
    """The sentence has the command; with the right of an operator beside, the retry works."""
    job = failed_job(conn)
    with temporary_roles(dsn, "t_pages"):
        grant(conn, reader="t_pages")
        conn.commit()
        given = settings.model_copy(update={"dsn": psycopg.conninfo.make_conninfo(dsn, user="t_pages")})
        with browser_of(create_app(given, Someone())) as browser:
            refused = retry(browser, "all=on", job=str(job))
            assert refused.status_code == 503
            assert "pgaudit grant --operator t_pages" in refused.text
            assert failed(conn) == [job]
            grant(conn, operator="t_pages")
            conn.commit()
            assert retry(browser, "all=on", all="on").status_code == 303
    assert failed(conn) == []
