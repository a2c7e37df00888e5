"""A worker that is halted while it sends: another one takes over, and the first one does no harm when it goes on."""

import signal
import threading
from collections import Counter
from pathlib import Path

import psycopg

from pgaudit import streams
from tests.support.processes import kill, start_worker
from tests.support.queries import value_in
from tests.support.receivers import Reply, Request, serving
from tests.support.streams import append, lines
from tests.support.waiting import wait_until

EVENTS = 30
# What the server does by itself after ten minutes.
END_TRANSACTION = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE application_name = 'pgaudit stream hook' AND state = 'idle in transaction'
"""


def test_another_worker_takes_over(dsn: str, tmp_path: Path) -> None:
    """Each event is at its destinations; the webhook may have some twice, with the same id, and no file has."""
    taken: list[str] = []
    first, go_on = threading.Event(), threading.Event()

    def answer(request: Request) -> Reply:
        taken.append(request.headers["webhook-id"])
        if len(taken) == EVENTS // 2:
            first.set()
            go_on.wait(60)
        return Reply(204)

    append(dsn, EVENTS)
    with serving(answer) as url:
        with psycopg.connect(dsn) as conn:
            streams.add(conn, "hook", to=f"{url}/?secret=env:KEY", start=0, allow_private=True)
            streams.add(conn, "files", to=f"file:{tmp_path}", start=0)
        workers = [start_worker(dsn, KEY="whsec_" + "QUJD" * 11)]
        try:
            assert first.wait(30)
            workers[0].send_signal(signal.SIGSTOP)
            assert value_in(dsn, END_TRANSACTION) == 1
            go_on.set()
            workers.append(start_worker(dsn, KEY="whsec_" + "QUJD" * 11))
            wait_until("all is delivered", lambda: lag(dsn) == 0)
            workers[0].send_signal(signal.SIGCONT)
            append(dsn, EVENTS)
            wait_until("what came later is delivered, too", lambda: lag(dsn) == 0)
        finally:
            for worker in workers:
                kill(worker)
    assert [line["index"] for line in lines(tmp_path)] == list(range(2 * EVENTS))
    assert len(set(taken)) == 2 * EVENTS
    assert max(Counter(taken).values()) <= 2


def lag(dsn: str) -> int:
    """Returns how many events the streams have not got to, in sum."""
    return int(value_in(dsn, "SELECT sum(lag_events) FROM pgaudit.stream_stats"))
