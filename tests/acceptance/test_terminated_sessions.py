"""A worker keeps persisting while its sessions are terminated repeatedly."""

import psycopg

from pgaudit.testing.server import TemporaryServer
from tests.support.audit_log import assert_dense
from tests.support.jobs import queue_events
from tests.support.processes import worker_process
from tests.support.queries import COUNT_JOBS, LOG_SIZE, Connection, value_and_commit
from tests.support.waiting import wait_until

EVENTS = 5_000
TERMINATE = """
    SELECT count(pg_terminate_backend(pid)), pg_sleep(0.2)
      FROM pg_stat_activity WHERE application_name = 'pgaudit worker'
"""


def test_a_worker_whose_sessions_are_terminated_five_times_a_second_goes_on(own_server: TemporaryServer) -> None:
    """The worker empties the queue meanwhile; no event is lost or stored twice, and no job fails."""
    dsn = own_server.conninfo
    terminated = 0

    def terminate_and_look(conn: Connection) -> bool:
        nonlocal terminated
        terminated += value_and_commit(conn, TERMINATE)
        return bool(value_and_commit(conn, LOG_SIZE) == EVENTS)

    with psycopg.connect(dsn, autocommit=True) as conn, worker_process(dsn, PGAUDIT_BATCH_SIZE="100"):
        for _ in range(5):
            queue_events(dsn, EVENTS // 5)
            terminate_and_look(conn)
        wait_until("the log has all events", lambda: terminate_and_look(conn))
        assert terminated > 5
        assert value_and_commit(conn, COUNT_JOBS) == 0
        assert_dense(conn)
