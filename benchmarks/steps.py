"""Where the time of a recorded event goes, step by step: in the server, without its network, and in Python."""

import argparse
import time
from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from benchmarks import peers
from benchmarks.events import event
from benchmarks.figures import Figure
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from pgaudit import Settings
from pgaudit.recording.document import to_document

TIMES: Final = 5_000
# Each runs in a loop of PL/pgSQL's, whose own share is 0.01 µs: what a statement costs beyond that, a client pays, too.
# ``document``, ``event``, ``events`` and ``stamped`` are one event as text, as jsonb, in an array, and with its stamps.
STEPS: Final[dict[str, tuple[str, LiteralString]]] = {
    "parse": ("its JSON is read", "parsed := document::jsonb"),
    "stamp": ("the server's stamps are put into it", "parsed := pgaudit.with_server_stamps(event)"),
    "text": ("its canonical text is made", "document := stamped::text"),
    "check": ("the same, and the event is checked", "document := pgaudit.check_event(stamped)"),
    "hash": ("its canonical text is made, and the hash of it", "hash := pgaudit.leaf_hash(stamped)"),
    "insert": (
        "INSERT of such a job into the queue",
        "INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes) VALUES (stamped, given_hash, 600)",
    ),
    "record": ("pgaudit.record, all of it", "PERFORM pgaudit.record(events)"),
    "outbox": ("INSERT of the event into the outbox", "INSERT INTO outbox (payload) VALUES (event)"),
}
LOOP: Final = """
    CREATE OR REPLACE FUNCTION pg_temp.step(document text, event jsonb, events jsonb, stamped jsonb, given_hash bytea)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pgaudit, public AS $$
    DECLARE parsed jsonb; hash bytea;
    BEGIN FOR n IN 1..{times} LOOP {step}; END LOOP; END $$
"""
CALL: Final = """
    SELECT pg_temp.step(given, given::jsonb, jsonb_build_array(given::jsonb),
                        pgaudit.with_server_stamps(given::jsonb), pgaudit.leaf_hash(given::jsonb))
      FROM (VALUES (%s::text)) one (given)
"""


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Takes all steps by turns."""
    bench.create(RUN, peers.BUSINESS)
    server = {each: Figure(name, each, "µs", ours=each == "record") for each, (name, _) in STEPS.items()}
    python = {name: Figure(name, name, "µs of CPU") for name in in_python()}
    with psycopg.connect(bench.conninfo(RUN)) as conn:
        for number in range(options.rounds):
            for each, figure in server.items():
                figure.values.append(in_server(conn, STEPS[each][1]))
            for name, work in in_python().items():
                python[name].values.append(own_time(work))
            shown = ", ".join(f"{each} {figure.values[-1]:.1f}" for each, figure in server.items())
            report.progress(f"round {number + 1}/{options.rounds}, one event, in the server: {shown} µs")
    report.table("A recorded event in the server, step by step", list(server.values()), server["outbox"])
    report.table("A recorded event in Python, step by step", list(python.values()))


def in_server(conn: psycopg.Connection[Any], step: LiteralString) -> float:
    """The microseconds of a step, in the middle of a transaction."""
    conn.execute(sql.SQL(LOOP).format(times=sql.Literal(TIMES), step=sql.SQL(step)))
    start = time.perf_counter()
    conn.execute(CALL, [event().to_json()])
    taken = time.perf_counter() - start
    conn.rollback()
    return taken / TIMES * 1e6


def in_python() -> dict[str, Callable[[], object]]:
    """The steps of a program that records."""
    ready, settings = event(), Settings()
    return {
        "the event is made, checked by pydantic": event,
        "its JSON": ready.to_json,
        "the same, and its JSON": lambda: to_document([ready], settings.max_event_bytes),
    }


def own_time(work: Callable[[], object]) -> float:
    """The microseconds of this thread for one call."""
    start = time.thread_time()
    for _ in range(TIMES):
        work()
    return (time.thread_time() - start) / TIMES * 1e6
