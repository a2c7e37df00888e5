"""The health route: what probes and anonymous clients may know."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings, worker
from pgaudit.grants import grant
from pgaudit.web import create_app, probing
from tests.support.http import BEARER, client_of
from tests.support.jobs import let_jobs_be_edited
from tests.support.pgbouncer import free_port
from tests.support.processes import COMMANDS, kill, start_worker, terminate
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until

HEALTH = "/api/v1/health/queues"
REPORT = "/api/v1/admin/queues/health"
AGED = """UPDATE pgaudit.audit_jobs
             SET event = jsonb_set(event, '{recorded_at}', to_jsonb(now() - interval '61 seconds'))"""
HASHED = "UPDATE pgaudit.audit_jobs SET leaf_hash = pgaudit.leaf_hash(event)"


def test_health_is_200_when_degraded(client: httpx.Client) -> None:
    """Without a worker the answer is 200 and degraded, with the reason, and must not be cached."""
    answer = client.get(HEALTH)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["status"] == "degraded"
    assert body["reason"] == "No worker is alive: start `pgaudit worker`."
    assert {"name": "database", "status": "healthy"} in body["checks"]


def test_health_is_503_while_an_event_is_too_old_and_200_when_a_worker_returns(
    client: httpx.Client, conn: psycopg.Connection, settings: Settings
) -> None:
    """An old event makes the answer 503 with the reason; a worker that persists it makes it 200."""
    AuditLog(settings).record(conn, AuditEvent(action="claim.approved"))
    conn.commit()
    let_jobs_be_edited(conn)
    conn.execute(AGED)
    conn.execute(HASHED)
    conn.execute("ALTER TABLE pgaudit.audit_jobs ENABLE ALWAYS TRIGGER reject_event_update")
    conn.commit()
    answer = client.get(HEALTH)
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert client.get("/api/v1/health/ready").status_code == 200
    assert "The oldest waiting event was recorded 61." in answer.json()["reason"]
    with worker.start_in_thread(settings):
        wait_until("health is healthy", lambda: client.get(HEALTH).json()["status"] == "healthy")
        assert client.get(HEALTH).status_code == 200
        assert client.get(HEALTH).json()["reason"] is None


def test_ready_is_about_the_server_not_the_trail(client: httpx.Client) -> None:
    """The checks without which it can answer nothing; live has none."""
    assert client.get("/api/v1/health/ready").json() == {
        "status": "healthy",
        "reason": None,
        "checks": [{"name": "database", "status": "healthy"}, {"name": "schema_version", "status": "healthy"}],
    }
    assert client.get("/api/v1/health/live").json() == {"status": "healthy", "reason": None, "checks": []}


def test_a_database_that_is_away_is_unhealthy_and_tells_no_secret(settings: Settings) -> None:
    """The answer says that the database does not answer, but neither its address nor its role."""
    away = "host=127.0.0.1 port=1 user=somebody password=secret dbname=hidden"
    with client_of(create_app(settings.model_copy(update={"dsn": away}))) as client:
        paths = (HEALTH, REPORT, "/metrics", "/api/v1/admin/queues/stats", "/api/v1/health/ready")
        with ThreadPoolExecutor() as threads:
            answer, report, *problems, ready = threads.map(lambda path: client.get(path, headers=BEARER), paths)
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["reason"] == "The database does not answer, or not to this role."
    assert (ready.status_code, ready.json()["reason"]) == (503, answer.json()["reason"])
    assert (report.status_code, report.json()["status"]) == (200, "unhealthy")
    assert report.json()["checks"][0]["message"].startswith("The database does not answer")
    for problem in problems:
        assert (problem.status_code, problem.json()["title"]) == (503, "Service Unavailable")
    for text in [one.text for one in (answer, report, *problems, ready)]:
        assert not any(word in text for word in ("secret", "somebody", "hidden", "127.0.0.1"))


def test_connections_that_the_server_has_closed_are_replaced(client: httpx.Client, conn: psycopg.Connection) -> None:
    """After a restart of the database the first answer is a good one again."""
    assert client.get("/metrics").status_code == 200  # the health would be shared
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgaudit web'")
    conn.commit()
    assert client.get(HEALTH).json()["checks"][0] == {"name": "database", "status": "healthy"}


def test_a_worker_serves_only_the_health_route(dsn: str, settings: Settings) -> None:
    """PGAUDIT_HEALTH_PORT has the health routes only, for which a worker's rights are enough."""
    port = free_port()
    with temporary_roles(dsn, "t_prober"):
        with psycopg.connect(dsn) as owner:
            grant(owner, worker="t_prober")
        given = settings.model_copy(update={"dsn": dsn.replace("user=postgres", "user=t_prober")})
        with probing(given, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get(HEALTH).json()["status"] == "degraded"
            assert client.get("/metrics").status_code == 404
            assert client.get(REPORT, headers=BEARER).status_code == 404


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_process_answers_its_probe(dsn: str, command: str) -> None:
    """Under either command a worker with PGAUDIT_HEALTH_PORT is healthy once it is registered, and ends with 0."""
    port = free_port()
    process = start_worker(dsn, command, PGAUDIT_HEALTH_PORT=str(port))
    try:
        wait_until("the worker is ready", lambda: is_healthy(f"http://127.0.0.1:{port}/api/v1/health/ready"))
        wait_until("the worker answers its probe", lambda: is_healthy(f"http://127.0.0.1:{port}{HEALTH}"))
        assert terminate(process) == 0
    finally:
        kill(process)


def test_a_port_in_use_is_an_error_at_start(settings: Settings) -> None:
    """A worker whose probe could never answer does not start."""
    port = free_port()
    with probing(settings, port), pytest.raises(OSError, match="in use"), probing(settings, port):
        pass


def is_healthy(url: str) -> bool:
    """Returns whether the health route at that address answers healthy."""
    try:
        return bool(httpx.get(url, trust_env=False, timeout=30).json()["status"] == "healthy")
    except httpx.TransportError:
        return False
