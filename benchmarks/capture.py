"""What does a trigger that captures changes, or a guard that demands an event, cost the business transaction?

Parts: ``bulk`` updates 100,000 rows in one statement, on one connection; ``small`` updates one row in a transaction, on
16 connections of pgbench, beside small logs; ``large`` does so beside logs of ``--rows`` rows.
Variants: no trigger, a row trigger like django-pghistory's, a generic trigger like supa_audit's, ``pgaudit capture``;
``pgaudit.record`` in the transaction, and the same on a guarded table.
Measured: transactions a second, the µs that each adds to a transaction or a row, bytes of WAL a row, commits included.
Duration: about 10 minutes; ``--rows 10000000`` take 15 minutes more, and 40 GB.

No worker runs: what a queue costs later is in ``footprint`` and ``sustained``. The time that a variant adds is what the
whole server, with all its cores, takes longer for a transaction: 1 / rate - 1 / rate of the same without it.
"""

import argparse
import time
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.footprint import wal_position
from benchmarks.support import captured, pgbench
from benchmarks.support.captured import BARE, CAPTURE, CLAIMS, DATABASE, GUARD, PGHISTORY, RECORD, SUPA, TABLE_OF
from benchmarks.support.options import names
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import Bench

PARTS: Final = frozenset({"bulk", "small", "large"})
CONNECTIONS: Final = 16
NAMES: Final = {
    BARE: "no trigger",
    PGHISTORY: "row trigger like django-pghistory's",
    SUPA: "generic trigger like supa_audit's",
    CAPTURE: "pgaudit capture",
    RECORD: "no trigger, pgaudit.record",
    GUARD: "pgaudit guard, pgaudit.record",
}
BASE_OF: Final = {PGHISTORY: BARE, SUPA: BARE, CAPTURE: BARE, GUARD: RECORD}
EVENT: Final = """{"id": "%1$s", "action": "claim.paid", "outcome": "success", "occurred_at": "2026-01-31T12:00:00Z",
    "actor": {"type": "user", "id": "42"}, "targets": [{"type": "claim", "id": "%2$s"}], "schema_version": 1,
    "changes": [{"path": "status", "before": "open", "after": "paid"}]}"""
RECORD_ONE: Final = "SELECT pgaudit.record(jsonb_build_array(format(:event, {new_id}, :claim::bigint)::jsonb));"
RECORD_ALL: Final = """
    SELECT pgaudit.record(jsonb_agg(format(%s, {new_id}, n)::jsonb)) FROM generate_series(1, %s) n GROUP BY n / 1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in each large log (1,000,000)")
    parser.add_argument("--parts", type=names, default=PARTS, help=f"some of {','.join(sorted(PARTS))} (all)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Runs the parts: small logs first.

    :raises SystemExit: ``--parts`` names a part that does not exist.
    """
    if unknown := options.parts - PARTS:
        raise SystemExit(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(sorted(PARTS))}")
    captured.create(bench)
    if "bulk" in options.parts:
        bulk(bench, report, options)
    if "small" in options.parts:
        single(bench, report, options, 0)
    if "large" in options.parts:
        captured.fill(bench, options.rows, report.progress)
        single(bench, report, options, options.rows)
    bench.drop(DATABASE)


def single(bench: Bench, report: Report, options: argparse.Namespace, rows: int) -> None:
    """Measures transactions of one UPDATE beside logs of that many rows."""
    rates = {each: measurement(each, "tx/s") for each in NAMES}
    extra = {each: measurement(each, "µs added") for each in BASE_OF}
    for number in range(options.rounds):
        for each, rate in rates.items():
            captured.prepare(bench, each, small=not rows)
            rate.values.append(throughput(bench, each, options.seconds))
        note_added(extra, {each: 1e6 / rate.values[-1] for each, rate in rates.items()})
        shown = ", ".join(f"{each} {rate.values[-1]:,.0f}" for each, rate in rates.items())
        report.progress(f"round {number + 1}/{options.rounds}, {rows:,} rows in each log: {shown} tx/s")
    title = f"One UPDATE, {CONNECTIONS} connections, {f'{rows:,} rows in each log' if rows else 'small logs'}"
    report.table(title, list(rates.values()), rates[BARE])
    report.table(f"{title}: time added", list(extra.values()), extra[PGHISTORY], extra[SUPA])
    bound = 1.0 if rows else 1.2
    for each in (PGHISTORY, SUPA):
        report.target(f"{title}: capture adds, of {each}", ratio(extra[CAPTURE], extra[each]), bound, limit=True)
    report.target(f"{title}: µs that a guard adds", extra[GUARD].median, 150, limit=True)


def bulk(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures an UPDATE of all rows in one statement."""
    times = {each: measurement(each, "µs a row") for each in NAMES}
    extra = {each: measurement(each, "µs a row added") for each in BASE_OF}
    wal = {each: measurement(each, "bytes of WAL a row") for each in NAMES}
    for each in NAMES:  # once, so that WAL has no images of pages: no checkpoint follows
        update_all(bench, each)
    for number in range(options.rounds):
        for each in NAMES:
            taken, written = update_all(bench, each)
            times[each].values.append(taken)
            wal[each].values.append(written)
        note_added(extra, {each: time.values[-1] for each, time in times.items()})
        shown = ", ".join(f"{each} {time.values[-1]:,.1f}" for each, time in times.items())
        report.progress(f"round {number + 1}/{options.rounds}, {CLAIMS:,} rows in a statement: {shown} µs a row")
    title = f"UPDATE of {CLAIMS:,} rows in one statement"
    report.table(title, list(times.values()), times[BARE])
    report.table(f"{title}: time added", list(extra.values()), extra[PGHISTORY], extra[SUPA])
    report.table(f"{title}: WAL", list(wal.values()), wal[PGHISTORY], wal[SUPA])
    report.target("bulk: µs a row with capture", times[CAPTURE].median, 35, limit=True)
    report.target("bulk: bytes of WAL a row with capture", wal[CAPTURE].median, 1_412, limit=True)
    report.target("bulk: µs a row that a guard adds", extra[GUARD].median, 15, limit=True)


def measurement(variant: str, unit: str) -> Measurement:
    """Returns an empty measurement of a variant."""
    return Measurement(NAMES[variant], variant, unit, ours=variant in {CAPTURE, GUARD})


def note_added(extra: dict[str, Measurement], times: dict[str, float]) -> None:
    """Adds to each measurement what its variant took longer in this round than the one that it is compared with."""
    for each, added in extra.items():
        added.values.append(times[each] - times[BASE_OF[each]])


def throughput(bench: Bench, variant: str, seconds: float) -> float:
    """Returns the transactions a second of a variant."""
    update = captured.UPDATE.format(table=TABLE_OF[variant])
    recording = RECORD_ONE.format(new_id=bench.new_id) if variant in {RECORD, GUARD} else ""
    with bench.connect(DATABASE) as conn:
        conn.execute("CHECKPOINT")
    script = f"\\set claim random(1, {CLAIMS})\nBEGIN;\n{update} WHERE id = :claim;\n{recording}\nCOMMIT;\n"
    return pgbench.run(bench.conninfo(DATABASE), script, CONNECTIONS, seconds, {"event": " ".join(EVENT.split())}).tps


def update_all(bench: Bench, variant: str) -> tuple[float, float]:
    """Updates all rows in a transaction, and returns its µs and its bytes of WAL, both for a row."""
    captured.prepare(bench, variant, small=True)
    with psycopg.connect(bench.conninfo(DATABASE)) as conn:
        before, start = wal_position(conn), time.perf_counter()
        conn.execute(sql.SQL(captured.UPDATE).format(table=sql.Identifier(TABLE_OF[variant])))
        if variant in {RECORD, GUARD}:
            record_all(bench, conn)
        conn.commit()
        taken = time.perf_counter() - start
        return taken * 1e6 / CLAIMS, (wal_position(conn) - before) / CLAIMS


def record_all(bench: Bench, conn: psycopg.Connection[Any]) -> None:
    """Records an event for each claim, in calls of a thousand."""
    conn.execute(sql.SQL(RECORD_ALL.replace("{new_id}", bench.new_id)), [EVENT, CLAIMS])
