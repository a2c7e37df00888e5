"""``pgaudit processors``, and ``pgaudit jobs`` with ``--processor``."""

import json

import psycopg
import pytest

from tests.support.command_line import Run
from tests.support.streams import append

FAIL = """
    SELECT f.status FROM pgaudit.register_worker() w,
           LATERAL pgaudit.fetch_processor_jobs(w.token, '{mail}', '{}', 1) j,
           LATERAL pgaudit.fail_processor_job(
               j.job_id, w.token, true, NULL, 'ValueError', NULL, 'no such claim', 'at line 3') f
"""


@pytest.fixture
def job(dsn: str) -> int:
    """A processor with one job that has failed, and one that waits; returns the number of the one that has failed."""
    append(dsn, 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pgaudit.register_processor('mail', 'action:claim.*', 0, 2, NULL, 20)")
        conn.execute("SELECT pgaudit.dispatch_events('mail', 0, 2, '{0,1}', '{}', 1, '')")
        assert conn.execute(FAIL).fetchone() == ("failed",)
        (number,) = conn.execute("SELECT id FROM pgaudit.processor_jobs WHERE status = 'failed'").fetchone() or (0,)
    return int(number)


def test_failed_jobs_are_listed_shown_and_retried(run: Run, job: int) -> None:
    """With each attempt's error, for people and for programs."""
    assert "1 waiting, 0 active, 0 delayed, 1 failed" in run("jobs", "list", "--processor", "mail").stdout
    (listed,) = json.loads(run("jobs", "list", "--processor", "mail", "--json").stdout)
    assert (listed["job_id"], listed["action"], listed["last_error"]) == (job, "claim.approved", "no such claim")
    shown = run("jobs", "show", str(job), "--processor", "mail").stdout
    assert "attempt 1" in shown
    assert "ValueError" in shown
    details = json.loads(run("jobs", "show", str(job), "--processor", "mail", "--json").stdout)
    assert [error["traceback"] for error in details["errors"]] == ["at line 3"]
    assert run("jobs", "retry", "--all", "--processor", "mail").stdout == "1 job(s) back in the queue.\n"
    again = run("jobs", "retry", str(job), "--processor", "mail")
    assert again.returncode == 1
    assert (
        again.stderr
        == f"pgaudit: the processor mail has no failed job {job}; see `pgaudit jobs list --processor mail`\n"
    )


def test_failed_jobs_are_discarded_with_a_reason(run: Run, job: int) -> None:
    """They leave the queue."""
    assert run("jobs", "discard", str(job), "--processor", "mail").returncode == 2
    discarded = run("jobs", "discard", str(job), "--processor", "mail", "--reason", "a test")
    assert discarded.stdout == "1 job(s) discarded.\n"
    gone = run("jobs", "show", str(job), "--processor", "mail")
    assert (gone.returncode, "has no job" in gone.stderr) == (1, True)
    unknown = run("jobs", "list", "--processor", "post")
    assert unknown.stderr == "pgaudit: there is no processor post: pgaudit processors list names them all\n"


@pytest.mark.usefixtures("job")
def test_a_processor_is_listed_shown_paused_and_backfilled(run: Run) -> None:
    """With its lag, its jobs, why it is paused, and how far a backfill is."""
    assert run("processors", "list").stdout.splitlines()[1].split()[:2] == ["mail", "active"]
    (stats,) = json.loads(run("processors", "list", "--json").stdout)
    assert (stats["waiting"], stats["failed"], stats["concurrency"], stats["break_after"]) == (1, 1, 2, 20)
    paused = run("processors", "pause", "mail", "--reason", "the provider moves")
    assert paused.stdout == "The processor mail is paused: `pgaudit processors resume mail` resumes it.\n"
    assert "the provider moves" in run("processors", "show", "mail").stdout
    assert run("processors", "resume", "mail").stdout == "The processor mail continues.\n"
    assert "backfill 1" in run("processors", "backfill", "mail", "--from", "0", "--to", "1").stdout
    shown = json.loads(run("processors", "show", "mail", "--json").stdout)
    assert [(each["from_index"], each["to_index"], each["progress"]) for each in shown["backfills"]] == [(0, 1, 0.0)]
    assert "0 %" in run("processors", "show", "mail").stdout
    late = run("processors", "backfill", "mail", "--from", "2")
    assert late.stderr == "pgaudit: the processor mail is at index 2, so it cannot be given 2 to 1\n"
    removed = run("processors", "remove", "mail").stdout
    assert removed.startswith(
        "The processor mail is removed, with its jobs. A worker whose code still declares it registers it"
    )
    unknown = run("processors", "pause", "mail")
    assert unknown.stderr.startswith("pgaudit: there is no processor mail: `pgaudit processors list`")
