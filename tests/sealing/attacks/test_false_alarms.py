"""No finding in a log that was not tampered with, while it grows."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import psycopg

from pgaudit import AuditLog, Settings
from pgaudit.sealing.keys import create, new_keys, public_keys
from pgaudit.sealing.verify import since_last, verify
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import events
from tests.support.processes import worker_process
from tests.support.queries import Connection, value, value_in
from tests.support.waiting import wait_until

PARTITIONS = 16
PARTITION = 256
COUNTS = (1, 7, 40)
FAILED = "SELECT count(*) FROM pgaudit.verification WHERE findings > 0"
COUNT = "SELECT count(*) FROM pgaudit.log_partitions()"


def record_and_commit_until(stop: Event, dsn: str, count: int) -> None:
    """Records events in transactions of one size, of which each third is rolled back."""
    audit = AuditLog(Settings(dsn=dsn))
    with psycopg.connect(dsn) as conn:
        number = 0
        while not stop.is_set():
            number += 1
            audit.record(conn, *events(count))
            if number % 3:
                conn.commit()
            else:
                conn.rollback()


def verify_until(stop: Event, dsn: str, key: Path, helpers: int, *, since: bool) -> list[int]:
    """Verifies the log again and again; returns up to where, each time that nothing was found."""
    ends: list[int] = []
    with ExitStack() as stack:
        conn, *others = [stack.enter_context(psycopg.connect(dsn, autocommit=True)) for _ in range(1 + helpers)]
        while not stop.is_set():
            first = since_last(conn) if since else 0
            result = verify(conn, keys=public_keys(key), first=first, helpers=others)
            assert result.findings == []
            ends.append(result.end)
    return ends


def partitions(conn: Connection) -> int:
    """Creates the next partition if it is missing; returns how many there are."""
    conn.execute("SELECT pgaudit.ensure_partitions()")
    return int(value(conn, COUNT))


def test_a_log_that_grows_gives_no_false_alarm(dsn: str, tmp_path: Path) -> None:
    """While events are recorded, appended, sealed and signed, and partitions are created, on whatever connections."""
    key = tmp_path / "key"
    create(key, new_keys("audit.example.com/claims"))
    with psycopg.connect(dsn) as conn:
        make_small_partitions_and_commit(conn, PARTITION)
    often = {"PGAUDIT_CHECKPOINT_INTERVAL": "0.05", "PGAUDIT_VERIFY_INTERVAL": "0.05"}
    environment: dict[str, Any] = {"PGAUDIT_SIGNING_KEY": str(key), **often}
    stop = Event()
    with (
        worker_process(dsn, **environment),
        ThreadPoolExecutor(len(COUNTS) + 3) as pool,
    ):
        writers: list[Future[None]] = [pool.submit(record_and_commit_until, stop, dsn, count) for count in COUNTS]
        verifying = [
            pool.submit(verify_until, stop, dsn, key, helpers, since=since)
            for helpers, since in ((0, False), (2, False), (1, True))
        ]
        try:
            with psycopg.connect(dsn, autocommit=True) as conn:
                # The next partition is created by this session, the worker or an append, by the fastest of them.
                wait_until("the log fills its partitions", lambda: partitions(conn) >= PARTITIONS, seconds=120)
        finally:
            stop.set()
    assert [each.result() for each in writers] == [None] * len(COUNTS)
    assert all(len(set(each.result())) > 1 for each in verifying), "each has verified several sizes"
    assert value_in(dsn, FAILED) == 0
