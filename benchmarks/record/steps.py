"""Where the time of one recorded event goes: each step in the server, without the network, and in Python."""

import argparse
import time
from collections.abc import Callable
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from benchmarks.support import databases
from benchmarks.support.load import event
from benchmarks.support.report import Measurement, Report
from benchmarks.support.server import RUN, Bench
from pgaudit import Settings
from pgaudit.recording.document import to_portions

TIMES: Final = 5_000
# Each step runs in a PL/pgSQL loop, which itself costs 0.01 µs. ``document``, ``event``, ``events`` and ``stamped`` are
# one event as text, as jsonb, in an array, and with the server's stamps.
STEPS: Final[dict[str, tuple[str, LiteralString]]] = {
    "parse": ("parse its JSON", "parsed := document::jsonb"),
    "stamp": ("add the server's stamps", "parsed := pgaudit.with_server_stamps(event)"),
    "text": ("make its canonical text", "document := stamped::text"),
    "check": ("make its canonical text, and check the event", "document := pgaudit.check_event(stamped)"),
    "hash": ("make its canonical text, and hash it", "hash := pgaudit.leaf_hash(stamped)"),
    "insert": (
        "INSERT the job into the queue",
        "INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes) VALUES (stamped, given_hash, 600)",
    ),
    "record": ("pgaudit.record as a whole", "PERFORM pgaudit.record(events)"),
    "outbox": ("to compare: INSERT the event into an outbox", "INSERT INTO outbox (payload) VALUES (event)"),
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
    """Measures all steps by turns."""
    bench.create(RUN, databases.BUSINESS)
    server = {each: Measurement(name, each, "µs", ours=each == "record") for each, (name, _) in STEPS.items()}
    python = {name: Measurement(name, name, "µs of CPU") for name in steps_in_python()}
    with psycopg.connect(bench.conninfo(RUN)) as conn:
        for number in range(options.rounds):
            for each, measurement in server.items():
                measurement.values.append(time_in_server(conn, STEPS[each][1]))
            for name, work in steps_in_python().items():
                python[name].values.append(cpu_time(work))
            shown = ", ".join(f"{each} {measurement.values[-1]:.1f}" for each, measurement in server.items())
            report.progress(f"round {number + 1}/{options.rounds}, one event, in the server: {shown} µs")
    report.table("A recorded event in the server, step by step", list(server.values()), server["outbox"])
    report.table("A recorded event in Python, step by step", list(python.values()))


def time_in_server(conn: psycopg.Connection[Any], step: LiteralString) -> float:
    """Returns the microseconds of a step in the middle of a transaction."""
    conn.execute(sql.SQL(LOOP).format(times=sql.Literal(TIMES), step=sql.SQL(step)))
    start = time.perf_counter()
    conn.execute(CALL, [event().to_json()])
    taken = time.perf_counter() - start
    conn.rollback()
    return taken / TIMES * 1e6


def steps_in_python() -> dict[str, Callable[[], object]]:
    """Returns the steps of a program that records an event."""
    ready, settings = event(), Settings()
    return {
        "make the event, which pydantic validates": event,
        "make its JSON": ready.to_json,
        "make the document of the call, with its JSON": lambda: (
            to_portions([ready], settings.max_event_bytes)[0].document
        ),
    }


def cpu_time(work: Callable[[], object]) -> float:
    """Returns the microseconds of CPU of one call."""
    start = time.thread_time()
    for _ in range(TIMES):
        work()
    return (time.thread_time() - start) / TIMES * 1e6
