"""The web applications among the examples, under real servers and many concurrent clients."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.processes import kill, terminate, worker_process
from tests.support.queries import COUNT_JOBS, value_in
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
# Arguments of Python. The system chooses the port, and each server prints it.
SERVERS = {
    "fastapi": ["-m", "uvicorn", "--app-dir", f"{EXAMPLES}/fastapi_sqlalchemy", "app:app", "--port", "0"],
    "flask": ["-m", "flask", "--app", f"{EXAMPLES}/flask_psycopg/app.py", "run", "--port", "0"],
    "django": ["-m", "uvicorn", "--app-dir", f"{EXAMPLES}/django", "app:app", "--port", "0"],
}
CLAIMS = 200

CHANGES = """
    SELECT 'claim.submitted', id::text FROM claims
    UNION ALL SELECT 'claim.approved', id::text FROM claims WHERE status = 'approved'
    ORDER BY 1, 2
"""
EVENTS = """
    SELECT action, target_id, actor_type || ':' || actor_id, event->'context'->>'request_id'
      FROM pgaudit.audit_log ORDER BY action, target_id
"""


@dataclass(frozen=True, order=True)
class Confirmed:
    """A change that the application has confirmed, and the request that asked for it."""

    action: str
    claim: str
    actor: str
    request_id: str


@pytest.mark.parametrize("name", SERVERS)
def test_each_committed_change_is_logged_once_with_its_actor(name: str, dsn: str, tmp_path: Path) -> None:
    """Of 400 concurrent requests, a quarter rolls back after recording; the others are in the log once."""
    beside = worker_process(dsn) if name == "django" else nullcontext()
    with beside, served(name, dsn, tmp_path / "log") as url:
        confirmed = asyncio.run(drive(url))
        wait_until("the queue is empty", lambda: value_in(dsn, COUNT_JOBS) == 0)
    with psycopg.connect(dsn) as conn:
        changes = conn.execute(CHANGES).fetchall()
        events = conn.execute(EVENTS).fetchall()
    assert len(changes) == 2 * CLAIMS * 3 // 4
    assert [event[:2] for event in events] == changes
    assert [Confirmed(*event) for event in events] == sorted(confirmed)


@pytest.mark.parametrize("name", ["fastapi", "django"])
def test_the_routes_of_the_trail_are_mounted(name: str, dsn: str, tmp_path: Path) -> None:
    """A worker is alive in FastAPI's process or beside Django's, and the health route says so."""
    beside = worker_process(dsn) if name == "django" else nullcontext()
    with beside, served(name, dsn, tmp_path / "log") as url:
        wait_until(
            "a worker is alive", lambda: value_in(dsn, "SELECT count(*) FROM pgaudit.worker_stats WHERE alive") == 1
        )
        health = httpx.get(f"{url}/audit/api/v1/health/queues", trust_env=False, timeout=30)
    assert health.status_code == 200
    assert health.json()["status"] == "healthy"


async def drive(url: str) -> list[Confirmed]:
    """Submits all claims at once and approves or declines each; returns the confirmed changes."""
    # No connection is used twice: a server might close an idle one in the moment in which a request is sent.
    limits = httpx.Limits(max_connections=CLAIMS, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        lives = await asyncio.gather(*(submit_and_approve(client, number) for number in range(CLAIMS)))
    return [change for life in lives for change in life]


async def submit_and_approve(client: httpx.AsyncClient, number: int) -> list[Confirmed]:
    """Sends two requests by two users; the bank declines the approval of every other claim."""
    declined = number % 2 == 1
    claim = {"holder": "Ada", "amount": "5000.00" if declined else "250.00"}
    submitted = await client.post("/claims", json=claim, headers=headers(f"customer-{number}"))
    assert submitted.status_code == 201, submitted.text
    identity = str(submitted.json()["id"])
    approved = await client.post(f"/claims/{identity}/approve", headers=headers(f"clerk-{number}"))
    assert approved.status_code == (409 if declined else 200), approved.text
    confirmed = [confirmed_by("claim.submitted", identity, submitted)]
    return confirmed if declined else [*confirmed, confirmed_by("claim.approved", identity, approved)]


def headers(user: str) -> dict[str, str]:
    """Returns the headers with user and request id."""
    return {"X-User": user, "X-Request-ID": f"request-of-{user}"}


def confirmed_by(action: str, claim: str, response: httpx.Response) -> Confirmed:
    """Returns the change that a response confirms; fails unless it carries the id of its request."""
    request = response.request.headers
    assert response.headers["X-Request-ID"] == request["X-Request-ID"]
    return Confirmed(action, claim, f"user:{request['X-User']}", request["X-Request-ID"])


@contextmanager
def served(name: str, dsn: str, log: Path) -> Generator[str]:
    """Serves an application in a process of its own inside the block; returns its address."""
    environment = os.environ | {"PGAUDIT_DSN": dsn, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *SERVERS[name]], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until("the server says where it listens", lambda: address(log) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield address(log)
        terminate(process)
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        kill(process)


def address(log: Path) -> str:
    """Returns the address in the server's output; an empty string before it is there."""
    found = re.search(r"http://127\.0\.0\.1:\d+(?=\D)", log.read_text())
    return found[0] if found else ""
