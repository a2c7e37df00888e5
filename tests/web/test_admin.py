"""The admin routes: what they do, and who may use them."""

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.web import create_app
from tests.support.http import TOKEN, client_of

STATS = "/api/v1/admin/queues/stats"
REPORT = "/api/v1/admin/queues/health"
ADMIN = [("GET", STATS), ("GET", REPORT), ("POST", "/api/v1/admin/queues/jobs/1/retry")]


def assert_problem(answer: httpx.Response, status: int, sent: object = None) -> None:
    """Fails unless the answer is a problem document of that status that must not be cached."""
    assert answer.status_code == status, sent
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["detail"].endswith(".")


def test_stats_count_the_queue(admin: httpx.Client, conn: psycopg.Connection, settings: Settings) -> None:
    """The answer has the number of jobs in each state, and the workers."""
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
    """Each check has what was observed, the threshold, and a sentence."""
    checks = {check["name"]: check for check in admin.get(REPORT).json()["checks"]}
    assert checks["workers"] == {
        "name": "workers",
        "status": "degraded",
        "observed": 0,
        "threshold": 1,
        "message": "No worker is alive: start `pgaudit worker`.",
    }


def test_a_failed_job_is_retried_once(admin: httpx.Client, conn: psycopg.Connection, failed_job: int) -> None:
    """A retried job waits from its first attempt; a second retry finds no failed job."""
    path = f"/api/v1/admin/queues/jobs/{failed_job}/retry"
    answer = admin.post(path)
    assert answer.status_code == 200
    assert answer.json() == {"job_id": failed_job, "state": "waiting"}
    statement = "SELECT status::text, attempts FROM pgaudit.audit_jobs WHERE id = %s"
    assert conn.execute(statement, [failed_job]).fetchone() == ("todo", 0)
    assert_problem(admin.post(path), 404)


def test_an_invalid_job_id_is_422(admin: httpx.Client) -> None:
    """Zero, signs, words, other digits, and more than a bigint holds are refused."""
    for text in ("0", "-1", "seven", "1.5", "%20", "\u0661", "9223372036854775808", "1" * 5_000):
        assert_problem(admin.post(f"/api/v1/admin/queues/jobs/{text}/retry"), 422, text)


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_a_request_without_the_token_is_401(client: httpx.Client, method: str, path: str) -> None:
    """A missing or wrong token is answered with the challenge in WWW-Authenticate."""
    wrong = ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}")
    for headers in ({}, *({b"Authorization": given.encode()} for given in wrong)):
        answer = client.request(method, path, headers=headers)
        assert_problem(answer, 401, headers)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="pgaudit"')


def test_the_scheme_of_the_token_has_no_case(client: httpx.Client) -> None:
    """RFC 9110: the name of an authentication scheme is case-insensitive."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert client.get(STATS, headers={b"Authorization": f"{scheme} {TOKEN}".encode()}).status_code == 200


@pytest.mark.parametrize("token", [None, ""])
def test_admin_routes_are_403_without_a_configured_token(token: str | None) -> None:
    """An empty token counts as none, so that an empty credential is not accepted."""
    with client_of(create_app(Settings(admin_token=token))) as client:
        for method, path in ADMIN:
            for given in (b"Bearer", b"Bearer x"):
                assert_problem(client.request(method, path, headers={b"Authorization": given}), 403)


def test_the_token_is_not_in_the_repr(settings: Settings) -> None:
    """The repr leaves the token out, because settings end up in logs."""
    assert TOKEN not in repr(settings)


def test_any_other_path_is_404(client: httpx.Client) -> None:
    """Only the exact paths exist, without redirects from similar ones."""
    for path in ("/nothing", "/metrics/", "/api/v1/health/queues/", "/api/v1/admin/queues", "/api/v2/x"):
        assert_problem(client.get(path), 404, path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("DELETE", "/api/v1/health/queues", {"GET", "HEAD"}),
        ("GET", "/api/v1/admin/queues/jobs/1/retry", {"POST"}),
    ],
)
def test_any_other_method_is_405(client: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    """The Allow header has the methods of the route."""
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed
