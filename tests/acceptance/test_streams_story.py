"""Destinations that fail in every way, workers that are killed, servers that stop: each event arrives, in order.

The story as it was told has 50,000 events, and a minute without one of the destinations: ``STORY_EVENTS=50000``.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from pgaudit import processors, streams
from pgaudit.testing.server import TemporaryServer
from tests.support.nats import NatsServer, nats_server
from tests.support.processors import Modules, column
from tests.support.receivers import serving
from tests.support.story import Hook, killed_workers, stopped_twice, write
from tests.support.streams import lines
from tests.support.waiting import wait_until

logger = logging.getLogger("story")
EVENTS = int(os.environ.get("STORY_EVENTS", "3000"))
DOWN_SECONDS = EVENTS / 800
KILL_SECONDS = (EVENTS / 3000) ** 0.5  # a webhook's chunk has to end now and then
QUICK = {
    "STREAM_SECRET": "whsec_" + "QUJD" * 11, "PGAUDIT_STALLED_AFTER": "3", "PGAUDIT_JOB_BACKOFF_DELAY": "100",
    "PGAUDIT_JOB_BACKOFF_MAX": "1000", "PGAUDIT_MAX_STALLS": "1000",
}  # fmt: skip
# The first one asks for another attempt at some events, and fails for ever at others; the second one gives some up.
PROCESSORS = """
@pgaudit.processor("thirds", on="*", when=lambda entry: entry.index % 3 == 0, start="beginning",
                   retry=pgaudit.Backoff(attempts=3, delay=0.1))
def thirds(entry):
    note(entry, "thirds")
    if entry.index % 300 == 0:
        raise ValueError("this one never works")
    if entry.index % 30 == 0 and entry.attempt == 1:
        raise pgaudit.Retry(0.05)

@pgaudit.processor("payments", on="claim.paid", start="beginning")
async def payments(entry):
    note(entry, "payments")
    await asyncio.sleep(0.001)
    if entry.index % 20 == 0:
        raise pgaudit.Discard("it was paid before")
"""
ENDS = """
    SELECT delivered, succeeded, discarded,
           array(SELECT index FROM pgaudit.processor_jobs WHERE task_name = p.name ORDER BY index)
      FROM pgaudit.processor p JOIN pgaudit.stream_position USING (name) WHERE p.name = %s
"""
ERRORS = "SELECT event_id, attempt FROM pgaudit.job_error WHERE error_class = %s"
IS_DONE = """
    SELECT size >= %s
       AND (SELECT count(*) = 6 AND max(lag_events) = 0 FROM pgaudit.stream_stats)
       AND NOT EXISTS (SELECT FROM pgaudit.processor_jobs WHERE status <> 'failed')
      FROM pgaudit.log_head
"""
DELIVERIES = """
    SELECT concat_ws(' ', stream, status, sum(chunks), 'chunks of', sum(events), 'events') FROM pgaudit.delivery
     GROUP BY stream, status ORDER BY 1
"""


def add_streams(dsn: str, hook: str, slow: str, directory: Path, nats: NatsServer) -> None:
    """Adds the streams, from the beginning of the log."""
    secret = "secret=env:STREAM_SECRET"
    with psycopg.connect(dsn) as conn:
        streams.add(conn, "files", to=f"file:{directory}", start=0)
        streams.add(conn, "hook", to=f"{hook}/?{secret}", start=0, allow_private=True)
        streams.add(conn, "slow", to=f"{slow}/?{secret}", query="action:claim.paid", start=0, allow_private=True)
        streams.add(conn, "nats", to=f"nats://{nats.place}?stream=AUDIT", start=0, allow_private=True)


def is_done(dsn: str) -> bool:
    """Returns whether all events are in the log, all streams and processors at its end, and their jobs have ended."""
    try:
        with psycopg.connect(dsn) as conn:
            return bool(conn.execute(IS_DONE, [EVENTS]).fetchall()[0][0])
    except psycopg.OperationalError:
        return False


@pytest.mark.timeout(3_600)
def test_every_destination_gets_every_event(own_server: TemporaryServer, tmp_path: Path) -> None:
    """Each has each event, in order, and once where it can tell; each event that a processor wants gets one job."""
    dsn, modules, began = own_server.conninfo, Modules(tmp_path), time.monotonic()
    hook = Hook(down_until=began + DOWN_SECONDS, refuses=lambda index: index % 100 == 99)
    slow = Hook(seconds=0.02)
    environment = QUICK | modules.write("story_processors", PROCESSORS)
    with serving(hook.answer) as url, serving(slow.answer) as other, nats_server(tmp_path / "nats") as nats:
        add_streams(dsn, url, other, tmp_path / "files", nats)
        with killed_workers(dsn, 2, KILL_SECONDS, environment) as killed, stopped_twice(own_server, nats, DOWN_SECONDS):
            write(dsn, EVENTS)
            wait_until("all is delivered", lambda: is_done(dsn), seconds=3_000)
            logger.info("seconds until all was delivered: %.0f", time.monotonic() - began)
        published = [json.loads(data)["index"] for _, _, data in nats.messages("AUDIT")]
    tell(dsn, len(killed), hook, slow, modules)
    written = lines(tmp_path / "files")
    size = len(written)  # an event whose commit was not confirmed is recorded again by its id
    assert size >= EVENTS
    assert [line["index"] for line in written] == published == list(range(size))
    keys = {line["index"]: line["event"]["id"] for line in written}
    paid = [line["index"] for line in written if line["event"]["action"] == "claim.paid"]
    refused = set(range(99, size, 100))
    for receiver, expected in ((hook, [i for i in range(size) if i not in refused]), (slow, paid)):
        assert receiver.first_taken == expected
        assert set(receiver.taken) == {(index, keys[index]) for index in expected}
        assert receiver.sent_again < size / 2  # after a crash: some, and not all
    with psycopg.connect(dsn) as conn:
        assert {parked.index for parked in streams.parked(conn, "hook", count=1_000)} == refused
        assert [stream.state for stream in streams.listed(conn)] == ["active"] * 4
        assert [processor.state for processor in processors.listed(conn)] == ["active"] * 2
    dead, given_up = list(range(0, size, 300)), [index for index in paid if index % 20 == 0]
    again = [index for index in range(0, size, 30) if index not in dead]
    thirds = {index: keys[index] for index in range(0, size, 3)}
    assert ends_of(dsn, "thirds") == (len(thirds), len(thirds) - len(dead), 0, dead)
    assert ends_of(dsn, "payments") == (len(paid), len(paid) - len(given_up), len(given_up), [])
    assert calls_of(modules, "thirds") == {(index, f"thirds:{key}") for index, key in thirds.items()}
    assert calls_of(modules, "payments") == {(index, f"payments:{keys[index]}") for index in paid}
    assert errors_of(dsn, "ValueError", keys) == [(index, attempt) for index in dead for attempt in (1, 2, 3)]
    assert errors_of(dsn, "Retry", keys) == [(index, 1) for index in again]
    assert errors_of(dsn, "Discard", keys) == [(index, 1) for index in given_up]


def ends_of(dsn: str, name: str) -> tuple[int, int, int, list[int]]:
    """Returns how many jobs a processor has got, how many were done and given up, and which have failed."""
    with psycopg.connect(dsn) as conn:
        ((jobs, succeeded, discarded, failed),) = conn.execute(ENDS, [name]).fetchall()
    return jobs, succeeded, discarded, failed


def calls_of(modules: Modules, name: str) -> set[tuple[int, str]]:
    """Returns index and key of each call of a processor's function."""
    return {(note.index, note.key) for note in modules.notes if note.what == name}


def errors_of(dsn: str, error_class: str, keys: Mapping[int, str]) -> list[tuple[int, int]]:
    """Returns index and number of each attempt that has ended with that error, in their order."""
    indexes = {key: index for index, key in keys.items()}
    with psycopg.connect(dsn) as conn:
        return sorted((indexes[key], attempt) for key, attempt in conn.execute(ERRORS, [error_class]))


def tell(dsn: str, killed: int, hook: Hook, slow: Hook, modules: Modules) -> None:
    """Logs the figures of the story: pytest shows them with ``--log-cli-level=INFO``."""
    logger.info("workers killed: %d; attempts at jobs: %d", killed, len(modules.notes))
    logger.info("events sent again: %d to the hook, %d to the slow one", hook.sent_again, slow.sent_again)
    for line in column(dsn, DELIVERIES):
        logger.info("deliveries: %s", line)
