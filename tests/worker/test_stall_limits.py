"""A worker counts as stalled by its own limits: in views, statistics, health, metrics and the command line."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from pgaudit import Settings, health, stats
from pgaudit.web import metrics, scrape
from tests.support.jobs import date_back_heartbeat_and_commit, fetch_and_commit, queue_events, register_and_commit
from tests.support.queries import Connection, rows_and_commit, value_and_commit
from tests.support.worker import working

LIMITS = "SELECT stalled_after, max_stalls FROM pgaudit.procrastinate_workers ORDER BY id"


@pytest.fixture
def pair(dsn: str, conn: Connection) -> tuple[int, int]:
    """Two workers without a heartbeat for ten seconds, with a job each; only the first one's limit is below that."""
    queue_events(dsn, 2)
    (hasty, hasty_token), (patient, patient_token) = (
        register_and_commit(conn, "5 s", 0),
        register_and_commit(conn, "1 minute", 9),
    )
    fetch_and_commit(conn, hasty_token)
    fetch_and_commit(conn, patient_token)
    for number in (hasty, patient):
        date_back_heartbeat_and_commit(conn, number, "10 s")
    return hasty, patient


def command_line(dsn: str, *arguments: str, **environment: str) -> Any:
    """Returns the JSON that ``pgaudit`` prints."""
    command = [sys.executable, "-m", "pgaudit", *arguments, "--json"]
    variables = os.environ | {"PGAUDIT_DSN": dsn} | environment
    return json.loads(subprocess.run(command, env=variables, capture_output=True, timeout=60, check=False).stdout)


def observed(report: health.HealthReport) -> dict[str, object]:
    """Returns what each check of the report has observed, by name."""
    return {check.name: check.observed for check in report.checks}


def test_views_use_the_limits_of_each_worker(conn: Connection, pair: tuple[int, int]) -> None:
    """Only the worker with the shorter limit is not alive, and only its job is stalled."""
    hasty, patient = pair
    assert rows_and_commit(conn, "SELECT worker_id, alive, active_jobs FROM pgaudit.worker_stats ORDER BY 1") == [
        (hasty, False, 1),
        (patient, True, 1),
    ]
    assert rows_and_commit(conn, "SELECT worker_id FROM pgaudit.stalled_jobs") == [(hasty,)]
    assert rows_and_commit(conn, "SELECT active, stalled FROM pgaudit.queue_stats") == [(2, 1)]


@pytest.mark.parametrize("own", [0.01, 3_600.0], ids=["shorter", "longer"])
def test_health_and_metrics_ignore_the_readers_limit(
    dsn: str, conn: Connection, pair: tuple[int, int], own: float
) -> None:
    """stalled_after of the process that reads has no effect on other workers."""
    settings = Settings(dsn=dsn, stalled_after=own)
    assert [worker.alive for worker in stats.worker_stats(conn)] == [False, True]
    assert stats.queue_stats(conn)[0].stalled == 1
    seen = observed(health.check(conn, settings))
    assert seen["workers"] == 1
    assert seen["stalled"] == 1
    lines = metrics.exposition(scrape.look(conn, settings)).decode().splitlines()
    assert "pgaudit_workers_alive 1.0" in lines
    assert 'pgaudit_stalled_jobs{queue="audit"} 1.0' in lines
    assert {line.partition("{")[2].partition("}")[0] for line in lines if "_heartbeat_age_seconds{" in line} == {
        f'worker="{number}"' for number in pair
    }


@pytest.mark.parametrize("own", ["0.01", "3600"], ids=["shorter", "longer"])
def test_the_command_line_ignores_the_limit_of_its_environment(dsn: str, pair: tuple[int, int], own: str) -> None:
    """pgaudit stats and health print the same under any PGAUDIT_STALLED_AFTER."""
    printed = command_line(dsn, "stats", PGAUDIT_STALLED_AFTER=own)
    assert [(worker["worker_id"], worker["alive"]) for worker in printed["workers"]] == [
        (pair[0], False),
        (pair[1], True),
    ]
    assert printed["queues"][0]["stalled"] == 1
    seen = {
        check["name"]: check["observed"] for check in command_line(dsn, "health", PGAUDIT_STALLED_AFTER=own)["checks"]
    }
    assert seen["workers"] == 1
    assert seen["stalled"] == 1


def test_a_job_is_reclaimed_by_the_limits_of_its_own_worker(conn: Connection, pair: tuple[int, int]) -> None:
    """A job is reclaimed after its worker's stalled_after, and failed after its worker's max_stalls."""
    hasty, patient = pair
    reclaimed = rows_and_commit(conn, "SELECT worker_id, stalls, failed FROM pgaudit.reclaim_stalled_jobs()")
    assert reclaimed == [(hasty, 1, True)]
    assert rows_and_commit(conn, "SELECT worker_id FROM pgaudit.audit_jobs WHERE status = 'doing'") == [(patient,)]
    date_back_heartbeat_and_commit(conn, patient, "61 s")
    reclaimed = rows_and_commit(conn, "SELECT worker_id, stalls, failed FROM pgaudit.reclaim_stalled_jobs()")
    assert reclaimed == [(patient, 1, False)]


@pytest.mark.anyio
async def test_workers_with_different_limits_register_them(dsn: str, conn: Connection) -> None:
    """Each worker registers its own stalled_after and max_stalls."""
    async with (
        working(Settings(dsn=dsn, stalled_after=2.5, max_stalls=0)),
        working(Settings(dsn=dsn, stalled_after=7_200, max_stalls=9)),
    ):
        limits = [(timedelta(seconds=2.5), 0), (timedelta(hours=2), 9)]
        assert rows_and_commit(conn, LIMITS) == limits
        assert value_and_commit(conn, "SELECT count(*) FROM pgaudit.worker_stats WHERE alive") == 2
