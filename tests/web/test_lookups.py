"""Look-ups: shared by requests, few at a time, and limited in time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from pgaudit import Settings
from pgaudit.web import create_app, lookups
from pgaudit.web.lookups import Lookups, SharedLookup
from tests.support.http import BEARER, client_of
from tests.support.queries import value_in
from tests.support.waiting import wait_until

HEALTH = "/api/v1/health/queues"
STATS = "/api/v1/admin/queues/stats"
LOCK = "LOCK TABLE pgaudit.audit_jobs IN ACCESS EXCLUSIVE MODE"
WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE application_name = 'pgaudit web' AND datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.anyio
async def test_requests_share_one_lookup_that_is_running() -> None:
    """A look-up that several requests wait for runs once, and all get its result."""
    calls, release = [0], Event()

    def look() -> int:
        calls[0] += 1
        assert release.wait(30)
        return calls[0]

    with ThreadPoolExecutor(4) as threads:
        shared = SharedLookup(threads.submit, look)
        waiting = [asyncio.create_task(shared.result()) for _ in range(50)]
        await asyncio.sleep(0)
        release.set()
        assert await asyncio.gather(*waiting) == [1] * 50


@pytest.mark.anyio
async def test_a_result_is_shared_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within it the look-up is not repeated; after it, it is."""
    calls = iter(range(1, 100))
    with ThreadPoolExecutor(4) as threads:
        shared = SharedLookup(threads.submit, lambda: next(calls))
        assert [await shared.result() for _ in range(20)] == [1] * 20
        monkeypatch.setattr(lookups, "SHARED_SECONDS", 0.0)
        assert [await shared.result() for _ in range(3)] == [2, 3, 4]


@pytest.mark.anyio
async def test_a_client_that_leaves_does_not_end_the_lookup_of_others() -> None:
    """A cancelled request cancels its own wait only."""
    release = Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(release.wait, 30)  # so that the look-up is still queued, and could be cancelled
        shared = SharedLookup(threads.submit, lambda: "seen")
        leaving, staying = (asyncio.create_task(shared.result()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        release.set()
        assert await staying == "seen"


def test_200_probes_beside_a_locked_table_wait_for_one_lookup(
    dsn: str, conn: psycopg.Connection, settings: Settings
) -> None:
    """The application around them answers meanwhile, although its own routes need threads."""
    host = FastAPI()
    host.add_api_route("/own", lambda: "answered")
    host.mount("/audit", create_app(settings))
    conn.execute(LOCK)
    with client_of(host) as client, ThreadPoolExecutor(200) as threads:
        client.get("/own")
        probes = [threads.submit(probe, client) for _ in range(200)]
        wait_until("a look-up waits for the lock", lambda: value_in(dsn, WAITING))
        assert client.get("/own").json() == "answered"
        assert value_in(dsn, WAITING) in (0, 1)
        assert {done.result().status_code for done in probes} == {503}


def probe(client: httpx.Client) -> httpx.Response:
    """Asks for the health on a connection of its own."""
    return httpx.get(client.base_url.join(f"/audit{HEALTH}"), trust_env=False, timeout=60)


def test_a_lookup_that_takes_too_long_is_503(
    conn: psycopg.Connection, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health keeps its shape; the others answer with a problem that says what to do."""
    monkeypatch.setattr(lookups, "TIMEOUT_SECONDS", 0.2)
    conn.execute(LOCK)
    health = client.get(HEALTH)
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    assert health.json()["reason"] == "The database does not answer, or not to this role."
    retry = client.post("/api/v1/admin/queues/jobs/1/retry", headers=BEARER)
    for answer in (client.get("/metrics"), client.get(STATS, headers=BEARER), retry):
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("The database did not answer in time. Try again")


def test_a_failure_is_logged_once_for_all_who_share_it(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Many scrapes during an outage do not flood the log."""
    away = settings.model_copy(update={"dsn": "host=127.0.0.1 port=1"})
    with client_of(create_app(away)) as client, ThreadPoolExecutor(20) as threads:
        url = client.base_url.join("/metrics")
        answers = threads.map(lambda _: httpx.get(url, trust_env=False, timeout=60), range(20))
        assert {answer.status_code for answer in answers} == {503}
    lines = [record.getMessage() for record in caplog.records if record.name == "pgaudit.web"]
    assert [line for line in lines if line.startswith("cannot look at the trail")] == lines
    assert 1 <= len(lines) <= 3


def test_exports_and_the_live_tail_have_one_thread_each(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the API and of the dashboard together: other requests keep two of the four connections."""
    apart: list[int] = []
    create = Lookups.apart

    def count(given: Lookups, threads: int) -> Lookups:
        apart.append(threads)
        return create(given, threads)

    monkeypatch.setattr(Lookups, "apart", count)
    create_app(settings)
    assert apart == [1, 1]
