"""The admin routes: what they do, and for whom."""

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.web import create_app
from tests.support.http import TOKEN, client_of

STATS = "/api/v1/admin/queues/stats"
REPORT = "/api/v1/admin/queues/health"
ADMIN = [("GET", STATS), ("GET", REPORT), ("POST", "/api/v1/admin/queues/jobs/1/retry")]


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether that is a problem document of that status, and not to be cached."""
    body = answer.json()
    return (
        answer.status_code == body["status"] == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and answer.headers["Cache-Control"] == "no-store"
        and body["type"] == "about:blank"
        and set(body) == {"type", "title", "status", "detail"}
        and body["detail"].endswith(".")
    )


def test_stats_count_the_queue(admin: httpx.Client, conn: psycopg.Connection, settings: Settings) -> None:
    """The counts of each state, and the workers."""
    AuditLog(settings).record(conn, *(AuditEvent(action="claim.approved") for _ in range(3)))
    conn.execute("SELECT pgaudit.register_worker()")
    conn.commit()
    answer = admin.get(STATS)
    (queue,) = answer.json()["queues"]
    (worker,) = answer.json()["workers"]
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert queue["queue_name"] == "audit"
    assert queue["waiting"] == 3
    assert queue["completed"] == 0
    assert worker["alive"] is True


def test_the_report_has_details(admin: httpx.Client) -> None:
    """Each check with what was seen, what is allowed, and its sentence."""
    checks = {check["name"]: check for check in admin.get(REPORT).json()["checks"]}
    assert checks["workers"] == {
        "name": "workers",
        "status": "degraded",
        "observed": 0,
        "threshold": 1,
        "message": "No worker is alive: start `pgaudit worker`.",
    }


def test_a_failed_job_is_retried_once(admin: httpx.Client, conn: psycopg.Connection, failed_job: int) -> None:
    """It waits again, from its first attempt; a second time there is nothing to retry."""
    path = f"/api/v1/admin/queues/jobs/{failed_job}/retry"
    answer = admin.post(path)
    assert answer.status_code == 200
    assert answer.json() == {"job_id": failed_job, "state": "waiting"}
    statement = "SELECT status::text, attempts FROM pgaudit.audit_jobs WHERE id = %s"
    assert conn.execute(statement, [failed_job]).fetchone() == ("todo", 0)
    assert is_problem(admin.post(path), 404)


def test_what_is_no_number_of_a_job_is_422(admin: httpx.Client) -> None:
    """Zero, signs, words, other digits, and more than a bigint holds."""
    for text in ("0", "-1", "seven", "1.5", "%20", "\u0661", "9223372036854775808", "1" * 5_000):
        assert is_problem(admin.post(f"/api/v1/admin/queues/jobs/{text}/retry"), 422), text


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_without_the_token_it_is_401(client: httpx.Client, method: str, path: str) -> None:
    """Missing or wrong, with the challenge in WWW-Authenticate, before anything is looked at."""
    wrong = ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}")
    for headers in ({}, *({b"Authorization": given.encode()} for given in wrong)):
        answer = client.request(method, path, headers=headers)
        assert is_problem(answer, 401), headers
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="pgaudit"')


def test_the_token_opens_whatever_the_case_of_its_scheme(client: httpx.Client) -> None:
    """RFC 9110: schemes have no case."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert client.get(STATS, headers={b"Authorization": f"{scheme} {TOKEN}".encode()}).status_code == 200


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_configured_token_it_is_403(token: str | None) -> None:
    """An empty token is none: nobody gets in by sending nothing."""
    with client_of(create_app(Settings(admin_token=token))) as client:
        for method, path in ADMIN:
            for given in (b"Bearer", b"Bearer x"):
                assert is_problem(client.request(method, path, headers={b"Authorization": given}), 403)


def test_the_token_is_in_no_repr(settings: Settings) -> None:
    """Settings end up in logs."""
    assert TOKEN not in repr(settings)


def test_any_other_path_is_404(client: httpx.Client) -> None:
    """Exactly these paths: no redirect to a similar one."""
    for path in ("/", "/metrics/", "/api/v1/health/queues/", "/api/v1/admin/queues", "/api/v2/x"):
        assert is_problem(client.get(path), 404), path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("DELETE", "/api/v1/health/queues", {"GET", "HEAD"}),
        ("GET", "/api/v1/admin/queues/jobs/1/retry", {"POST"}),
    ],
)
def test_any_other_method_is_405(client: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    """With the methods that there are in Allow."""
    answer = client.request(method, path)
    assert is_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed
