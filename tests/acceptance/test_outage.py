"""The database is away for a minute."""

import time
from functools import partial

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.testing.server import TemporaryServer
from tests.processes import COMMANDS, query, start_worker, terminate
from tests.waiting import wait_until

OUTAGE = 60.0
LOGGED = "SELECT size FROM pgaudit.log_head"
FAILED = "SELECT count(*) FROM pgaudit.failed_jobs"


def record(dsn: str) -> None:
    """Records one event."""
    with psycopg.connect(dsn) as conn:
        AuditLog(Settings(dsn=dsn)).record(conn, AuditEvent(action="claim.approved"))


def has_logged(dsn: str, count: int) -> bool:
    """Whether that many events are in the log."""
    return query(dsn, LOGGED) == count


def test_workers_outlive_an_outage(own_server: TemporaryServer) -> None:
    """Workers under both commands find the database again by themselves after 60 s, and nothing has failed."""
    dsn = own_server.conninfo
    workers = {command: start_worker(dsn, command) for command in COMMANDS}
    try:
        record(dsn)
        wait_until(lambda: query(dsn, LOGGED) == 1)
        wait_until(lambda: query(dsn, "SELECT count(*) FROM pgaudit.worker_stats WHERE alive") == len(COMMANDS))
        own_server.halt("immediate")
        time.sleep(OUTAGE)  # the outage itself
        own_server.start()
        for position, (command, process) in enumerate(workers.items(), start=2):
            assert process.poll() is None, command
            record(dsn)
            wait_until(partial(has_logged, dsn, position))
            assert terminate(process) == 0
    finally:
        for process in workers.values():
            process.kill()
            process.communicate()
    assert query(dsn, FAILED) == 0
