"""A worker's rights: it can do its own work, and cannot touch the jobs and heartbeats of other workers."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import grants
from tests.support.jobs import (
    date_back_heartbeat_and_commit,
    fetch_and_commit,
    insert_poison_and_commit,
    queue_events,
    register_and_commit,
)
from tests.support.queries import COUNT_JOB_ERRORS, Connection, rows_and_commit, value_and_commit
from tests.support.roles import temporary_roles

ROLE, ALL_TABLES = "r_worker", "r_all_tables"
STATE = "SELECT id, status::text, attempts, stalls, worker_id, scheduled_at FROM pgaudit.audit_jobs ORDER BY id"
WORKERS = "SELECT id, last_heartbeat, stalled_after, max_stalls FROM pgaudit.procrastinate_workers ORDER BY id"
RECORD_FAILURE = "SELECT pgaudit.record_failure(%s, %s, 0, true, %s, 'E', NULL, 'message', NULL)"
RELEASE = "SELECT pgaudit.release_jobs(%s::bigint[], %s)"
WRITES = (
    "INSERT INTO pgaudit.procrastinate_workers DEFAULT VALUES",
    "INSERT INTO pgaudit.procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (4711)",
    "UPDATE pgaudit.procrastinate_workers SET last_heartbeat = now()",
    "UPDATE pgaudit.procrastinate_workers SET token = gen_random_uuid(), max_stalls = 0",
    "DELETE FROM pgaudit.procrastinate_workers",
    "TRUNCATE pgaudit.procrastinate_workers CASCADE",
    "UPDATE pgaudit.audit_jobs SET status = 'failed'",
    "UPDATE pgaudit.audit_jobs SET worker_id = NULL, status = 'todo'",
    "UPDATE pgaudit.audit_jobs SET scheduled_at = now() + interval '1 hour'",
    "UPDATE pgaudit.procrastinate_jobs SET status = 'failed'",
    "DELETE FROM pgaudit.audit_jobs",
    "DELETE FROM pgaudit.procrastinate_jobs",
    "INSERT INTO pgaudit.job_error (job_id, task_name, attempt, error_class, message) VALUES (1, 't', 1, 'E', 'm')",
)
CALLS = (
    "SELECT pgaudit.procrastinate_register_worker_v1()",
    "SELECT pgaudit.procrastinate_update_heartbeat_v1(1)",
    "SELECT pgaudit.procrastinate_unregister_worker_v1(1)",
    "SELECT pgaudit.procrastinate_prune_stalled_workers_v1(0)",
    "SELECT pgaudit.procrastinate_fetch_job_v2(NULL, 1)",
    "SELECT pgaudit.procrastinate_finish_job_v1(1, 'failed', false)",
    "SELECT pgaudit.procrastinate_retry_job_v2(1, now(), NULL, NULL, NULL)",
    "SELECT pgaudit.procrastinate_cancel_job_v1(1, true, true)",
    "SELECT pgaudit.worker_id_of(gen_random_uuid())",
    "SELECT pgaudit.record_failures('{}', 1, '0 s', '0 s')",
    "SELECT nextval('pgaudit.procrastinate_workers_id_seq')",
    "SELECT nextval('pgaudit.procrastinate_jobs_id_seq')",
)


@pytest.fixture
def role_dsn(dsn: str) -> Iterator[str]:
    """The DSN of a plain role with a worker's rights; beside it there is a role with all rights on all tables."""
    with temporary_roles(dsn, ROLE, ALL_TABLES):
        with psycopg.connect(dsn) as owner:
            grants.grant(owner, worker=ROLE)
            owner.execute(f"GRANT USAGE ON SCHEMA pgaudit TO {ALL_TABLES}")
            owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA pgaudit TO {ALL_TABLES}")
        yield psycopg.conninfo.make_conninfo(dsn, user=ROLE)


@pytest.fixture
def as_worker(role_dsn: str) -> Iterator[Connection]:
    """A connection of the plain role with a worker's rights."""
    with psycopg.connect(role_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def busy(dsn: str, conn: Connection, as_worker: Connection) -> tuple[int, int, UUID]:
    """A job that another worker runs, with that worker's id and token."""
    queue_events(dsn)
    number, token = register_and_commit(as_worker)
    job = fetch_and_commit(as_worker, token)
    assert rows_and_commit(conn, STATE) == [(job, "doing", 0, 0, number, None)]
    return job or 0, number, token


def refused(conn: Connection, statement: str, parameters: list[Any] | None = None) -> None:
    """Fails unless the statement is refused because a right is missing."""
    with pytest.raises(InsufficientPrivilege):
        conn.execute(statement, parameters)
    conn.rollback()


@pytest.mark.parametrize("retry_in", [None, 0.0, 86_400.0], ids=["dead letter", "retry", "park"])
@pytest.mark.parametrize("kind", ["wrong", "own", "none"])
def test_a_worker_cannot_record_a_failure_of_a_job_that_it_does_not_hold(
    conn: Connection, as_worker: Connection, busy: tuple[int, int, UUID], kind: str, retry_in: float | None
) -> None:
    """Only with the token of its worker can a job be failed, retried or rescheduled."""
    job, _, _ = busy
    before = rows_and_commit(conn, STATE)
    token = {"wrong": uuid4(), "own": register_and_commit(as_worker)[1], "none": None}[kind]
    assert value_and_commit(as_worker, RECORD_FAILURE, [job, token, retry_in]) is False
    assert rows_and_commit(conn, STATE) == before
    assert value_and_commit(conn, COUNT_JOB_ERRORS) == 0


@pytest.mark.parametrize("kind", ["wrong", "own", "none"])
def test_a_worker_cannot_release_or_persist_a_job_that_it_does_not_hold(
    conn: Connection, as_worker: Connection, busy: tuple[int, int, UUID], kind: str
) -> None:
    """Another worker's job can be neither released nor taken into a batch."""
    job, _, _ = busy
    before = rows_and_commit(conn, STATE)
    token = {"wrong": uuid4(), "own": register_and_commit(as_worker)[1], "none": None}[kind]
    assert value_and_commit(as_worker, RELEASE, [[job], token]) == []
    assert rows_and_commit(as_worker, "SELECT taken FROM pgaudit.persist(%s, %s, 1000)", [token, job]) == [(0,)]
    assert rows_and_commit(as_worker, "SELECT * FROM pgaudit.running_jobs(%s)", [token]) == []
    assert rows_and_commit(conn, STATE) == before


@pytest.mark.parametrize("token", [uuid4(), None], ids=["wrong", "none"])
def test_an_unknown_token_fetches_no_job(dsn: str, conn: Connection, as_worker: Connection, token: UUID | None) -> None:
    """A caller that is not registered gets no job."""
    queue_events(dsn)
    before = rows_and_commit(conn, STATE)
    assert fetch_and_commit(as_worker, token) is None
    assert rows_and_commit(conn, STATE) == before


def test_a_worker_cannot_read_a_token(as_worker: Connection, busy: tuple[int, int, UUID]) -> None:
    """No table or view that a worker can read has the token of another worker."""
    _, number, token = busy
    refused(as_worker, "SELECT token FROM pgaudit.procrastinate_workers")
    refused(as_worker, "SELECT * FROM pgaudit.procrastinate_workers")
    readable = """
        SELECT c.oid::regclass::text FROM pg_class c
         WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('r', 'v', 'p')
           AND has_table_privilege(oid, 'SELECT')
    """
    relations = [relation for (relation,) in rows_and_commit(as_worker, readable)]
    assert "pgaudit.worker_stats" in relations
    for relation in relations:
        assert str(token) not in str(rows_and_commit(as_worker, f"SELECT to_jsonb(r) FROM {relation} r")), relation
    assert rows_and_commit(as_worker, "SELECT worker_id FROM pgaudit.worker_stats") == [(number,)]


@pytest.mark.parametrize("statement", WRITES)
def test_a_worker_writes_no_table(conn: Connection, as_worker: Connection, statement: str) -> None:
    """A worker changes workers, jobs and errors only through functions."""
    register_and_commit(as_worker)
    before = rows_and_commit(conn, WORKERS)
    refused(as_worker, statement)
    assert rows_and_commit(conn, WORKERS) == before


@pytest.mark.parametrize("statement", WRITES)
def test_a_role_with_rights_on_all_tables_writes_none_of_them(
    dsn: str, conn: Connection, as_worker: Connection, busy: tuple[int, int, UUID], statement: str
) -> None:
    """GRANT ALL ON ALL TABLES does not let a role act as a worker or change a job by hand."""
    assert busy
    workers, jobs = rows_and_commit(conn, WORKERS), rows_and_commit(conn, STATE)
    with psycopg.connect(dsn, user=ALL_TABLES, autocommit=True) as role:
        refused(role, statement)
    assert rows_and_commit(conn, WORKERS) == workers
    assert rows_and_commit(conn, STATE) == jobs
    assert as_worker


@pytest.mark.parametrize("statement", CALLS)
def test_a_worker_calls_no_function_that_trusts_a_worker_id(as_worker: Connection, statement: str) -> None:
    """Procrastinate's functions, which trust any worker id, and internal steps of ours are not granted to workers."""
    register_and_commit(as_worker)
    refused(as_worker, statement)


def test_a_worker_cannot_forge_a_heartbeat(conn: Connection, as_worker: Connection) -> None:
    """A heartbeat counts only for the worker whose token it has."""
    silent, _ = register_and_commit(as_worker)
    date_back_heartbeat_and_commit(conn, silent)
    before = rows_and_commit(conn, f"{WORKERS} LIMIT 1")
    assert value_and_commit(as_worker, "SELECT pgaudit.heartbeat(%s)", [uuid4()]) is False
    assert value_and_commit(as_worker, "SELECT pgaudit.heartbeat(%s)", [register_and_commit(as_worker)[1]]) is True
    assert value_and_commit(as_worker, "SELECT pgaudit.heartbeat(NULL)") is False
    as_worker.execute("SELECT pgaudit.unregister_worker(%s)", [uuid4()])
    assert rows_and_commit(conn, f"{WORKERS} LIMIT 1") == before


def test_each_registration_has_a_new_id_and_token(as_worker: Connection) -> None:
    """A worker that registers again gets another id and token."""
    registered = [register_and_commit(as_worker) for _ in range(3)]
    assert len({number for number, _ in registered}) == len({token for _, token in registered}) == 3


def test_a_worker_cannot_fail_a_running_job_by_reclaiming(
    conn: Connection, as_worker: Connection, busy: tuple[int, int, UUID]
) -> None:
    """A worker that registers with the strictest limits reclaims no job of a living worker."""
    assert busy
    before = rows_and_commit(conn, STATE)
    register_and_commit(as_worker, "0 s", 0)
    for _ in range(10):
        assert rows_and_commit(as_worker, "SELECT * FROM pgaudit.reclaim_stalled_jobs()") == []
    assert rows_and_commit(conn, STATE) == before


@pytest.mark.parametrize("retry_in", [86_401.0, 1e9, 1e300, float("inf"), float("nan")])
def test_a_worker_cannot_park_its_own_job(
    conn: Connection, as_worker: Connection, busy: tuple[int, int, UUID], retry_in: float
) -> None:
    """A retry is at most a day away, whatever delay the worker asks for."""
    job, _, token = busy
    assert value_and_commit(as_worker, RECORD_FAILURE, [job, token, retry_in]) is True
    ((status, delay),) = rows_and_commit(conn, "SELECT status::text, scheduled_at - now() FROM pgaudit.audit_jobs")
    assert status == "todo"
    assert timedelta(hours=23) < delay < timedelta(days=1)


@pytest.mark.parametrize(("delay", "least"), [("1 year", 18), ("10000 years", 18), ("-1 year", 0), (None, 0)])
def test_a_batch_cannot_park_failed_jobs(
    conn: Connection, as_worker: Connection, delay: str | None, least: int
) -> None:
    """A retry that persist schedules is at most a day away, whatever delays it is given."""
    insert_poison_and_commit(conn)
    persist = "SELECT taken, cardinality(failures) FROM pgaudit.persist(NULL, NULL, 10, 1000000, %s, %s)"
    assert rows_and_commit(as_worker, persist, [delay, delay]) == [(1, 1)]
    query = "SELECT status::text, scheduled_at - failed_at FROM pgaudit.audit_jobs, pgaudit.job_error"
    ((status, left),) = rows_and_commit(conn, query)
    assert status == "todo"
    assert timedelta(hours=least) - timedelta(minutes=1) < left < timedelta(days=1)


def test_the_texts_of_an_error_are_cut(conn: Connection, as_worker: Connection) -> None:
    """job_error keeps at most 2,000 characters of message and traceback, and 100 of the event's id."""
    job = insert_poison_and_commit(conn, '{"id": "%s"}' % ("i" * 5_000))
    _, token = register_and_commit(as_worker)
    assert fetch_and_commit(as_worker, token) == job
    query = "SELECT pgaudit.record_failure(%s, %s, 0, true, 0, %s, %s, %s, %s)"
    texts = ["C" * 9_000, "S" * 9_000, "m" * 99_000, "a" * 97_999 + "z" * 1_001]
    assert value_and_commit(as_worker, query, [job, token, *texts]) is True
    assert fetch_and_commit(as_worker, token) == job
    assert rows_and_commit(as_worker, "SELECT taken FROM pgaudit.persist(%s, %s, 10)", [token, job]) == [(1,)]
    lengths = """SELECT length(event_id), length(error_class), length(sqlstate), length(message), length(traceback)
                   FROM pgaudit.job_error ORDER BY id"""
    by_worker, by_batch = rows_and_commit(conn, lengths)
    assert by_worker == (100, 200, 5, 2_000, 2_000)
    assert by_batch[0] == 100
    assert max(by_batch) <= 2_000
    assert value_and_commit(conn, "SELECT traceback FROM pgaudit.job_error ORDER BY id LIMIT 1").endswith("z" * 1_001)
