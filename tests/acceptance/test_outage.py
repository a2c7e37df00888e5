"""An outage of the database that lasts a minute."""

import time
from functools import partial

from pgaudit.testing.server import TemporaryServer
from tests.support.jobs import queue_events
from tests.support.processes import COMMANDS, start_worker, terminate
from tests.support.queries import LOG_SIZE, value_in
from tests.support.waiting import wait_until

OUTAGE = 60.0
FAILED = "SELECT count(*) FROM pgaudit.failed_jobs"


def has_logged(dsn: str, count: int) -> bool:
    """Returns whether that many events are in the log."""
    return bool(value_in(dsn, LOG_SIZE) == count)


def test_workers_outlive_an_outage(own_server: TemporaryServer) -> None:
    """Workers under both commands reconnect by themselves after 60 s, and no job has failed."""
    dsn = own_server.conninfo
    workers = {command: start_worker(dsn, command) for command in COMMANDS}
    try:
        queue_events(dsn)
        wait_until("the log has 1 event", lambda: value_in(dsn, LOG_SIZE) == 1)
        wait_until(
            "both workers are alive",
            lambda: value_in(dsn, "SELECT count(*) FROM pgaudit.worker_stats WHERE alive") == len(COMMANDS),
        )
        own_server.halt("immediate")
        time.sleep(OUTAGE)  # the outage itself
        own_server.start()
        for position, (command, process) in enumerate(workers.items(), start=2):
            assert process.poll() is None, command
            queue_events(dsn)
            wait_until("the next event is in the log", partial(has_logged, dsn, position))
            assert terminate(process) == 0
    finally:
        for process in workers.values():
            process.kill()
            process.communicate()
    assert value_in(dsn, FAILED) == 0
