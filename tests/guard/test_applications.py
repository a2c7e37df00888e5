"""The example applications with their table captured, while scripts and bulk statements change it, too."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Final

import httpx
import psycopg
import pytest

from tests.examples.test_applications import SERVERS, headers, served
from tests.guard.database.replay import actual, exact, replayed
from tests.support.processes import worker_process
from tests.support.queries import COUNT_JOBS, value_in
from tests.support.waiting import wait_until

CLIENTS: Final = 200
SCRIPTS: Final = 8
LOGGED: Final = """
    SELECT event::text FROM pgaudit.audit_log WHERE event->'context' ? 'source' AND action LIKE 'claim.%' ORDER BY index
"""
STATEMENTS: Final = (
    "UPDATE claims SET status = 'reviewed' WHERE id % 7 = {n}",
    "UPDATE claims SET amount = amount + 1 WHERE id BETWEEN {n} * 10 AND {n} * 10 + 20",
    "DELETE FROM claims WHERE status = 'reviewed' AND id % 5 = {n} % 5",
    "INSERT INTO claims (holder, amount, status) SELECT 'script', i, 'imported' FROM generate_series(1, {n}) i",
    (
        "INSERT INTO claims (id, holder, amount, status) OVERRIDING SYSTEM VALUE VALUES ({n}, 'upsert', 1, 'x') "
        "ON CONFLICT (id) DO UPDATE SET holder = 'upserted'"
    ),
)


@pytest.mark.parametrize("name", SERVERS)
def test_the_log_rebuilds_the_table(name: str, dsn: str, tmp_path: Path) -> None:
    """200 clients of the application, and scripts with bulk statements, savepoints and rollbacks, all at once.

    The application's own events are beside the captured ones.
    """
    beside = worker_process(dsn) if name == "django" else nullcontext()
    with beside, served(name, dsn, tmp_path / "log") as url:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
        with ThreadPoolExecutor(SCRIPTS) as pool:
            scripts = [pool.submit(run_script, dsn, seed) for seed in range(SCRIPTS)]
            answers = asyncio.run(drive(url))
            for script in scripts:
                script.result(120)
        wait_until("the queue is empty", lambda: value_in(dsn, COUNT_JOBS) == 0)
    with psycopg.connect(dsn, autocommit=True) as conn:
        events = [exact(text) for (text,) in conn.execute(LOGGED).fetchall()]
        assert replayed(events) == actual(conn)
        assert len(events) > answers.count(201) == CLIENTS
        assert answers.count(200) > CLIENTS / 4


async def drive(url: str) -> list[int]:
    """Submits claims and approves them, all at once; a script may be quicker. Returns the status of each answer."""
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        lives = await asyncio.gather(*(submit_and_approve(client, number) for number in range(CLIENTS)))
    return [status for life in lives for status in life]


async def submit_and_approve(client: httpx.AsyncClient, number: int) -> tuple[int, int]:
    """Returns the status of both answers; the bank declines to pay every other claim."""
    claim = {"holder": "Ada", "amount": "5000.00" if number % 2 else "250.00"}
    submitted = await client.post("/claims", json=claim, headers=headers(f"customer-{number}"))
    approved = await client.post(f"/claims/{submitted.json()['id']}/approve", headers=headers(f"clerk-{number}"))
    assert approved.status_code in {200, 404, 409}, approved.text
    return submitted.status_code, approved.status_code


def run_script(dsn: str, seed: int) -> None:
    """Runs bulk statements in transactions that end in one way or the other."""
    random = Random(seed)
    with psycopg.connect(dsn) as conn:
        for _ in range(15):
            try:
                for _ in range(random.randint(1, 3)):
                    with conn.transaction(force_rollback=random.random() < 0.3):
                        conn.execute(random.choice(STATEMENTS).format(n=random.randint(1, 20)).encode())
            except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                conn.rollback()
                continue
            (conn.rollback if random.random() < 0.2 else conn.commit)()
