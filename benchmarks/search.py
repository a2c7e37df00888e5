"""How long does a page of a search take, in a log of years?

Variants: each filter, and combinations; where it can be asked there, the same of a table like django-auditlog's.
Measured: ms of a page of 50 events, as the median and the 99th percentile; apart, the first time for each value.
Duration: about 40 minutes with 10,000,000 events, nearly all of it to fill the log; they take 20 GB.

Each filter is asked for with many values, such as other claims, some of them rare. The log has partitions of 10,485,760
events, as installed, or as --partition says; a search for what is rare walks through all of them. A page of the rival
is what its admin shows: the newest rows that match, by time, without the count.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from statistics import quantiles
from typing import Any, Final

from psycopg import sql

from benchmarks.support import generated_log, load
from benchmarks.support.generated_log import RESOURCES, VERBS
from benchmarks.support.report import Measurement, Report
from benchmarks.support.server import RUN, Bench
from pgaudit import trail

SINGLE_MS: Final = 5.0
COMBINED_MS: Final = 25.0
SLOWEST_MS: Final = 100.0
RIVAL_ROWS: Final = 'SELECT * FROM auditlog_logentry WHERE {} ORDER BY "timestamp" DESC LIMIT 50'


@dataclass(frozen=True, slots=True)
class Question:
    """A query with placeholders, and how the rival is asked for the same; None if it would read its whole table."""

    query: str
    rival: str | None = None


QUESTIONS: Final = (
    Question(""),
    Question("target:claim:{claim}", "content_type_id = 1 AND object_id = {claim}"),
    Question("target:policy:{policy}"),
    Question("actor:user:{actor}", "actor_id = {actor}"),
    Question("action:{action}"),
    Question("action:{resource}.*"),
    Question("tenant:tenant-{tenant}", "additional_data->>'tenant' = 'tenant-{tenant}'"),
    Question("outcome:denied", "additional_data->>'outcome' = 'denied'"),
    Question("outcome:failure,denied"),
    Question("after:{month} before:{next_month}", "\"timestamp\" >= '{month}' AND \"timestamp\" < '{next_month}'"),
    Question("target:claim:{claim} action:{action}"),
    Question("target:claim:{claim} tenant:tenant-{tenant}"),
    Question("actor:user:{actor} action:{action}"),
    Question("actor:user:{actor} outcome:denied", "actor_id = {actor} AND additional_data->>'outcome' = 'denied'"),
    Question("tenant:tenant-{tenant} action:{action}"),
    Question("tenant:tenant-{tenant} outcome:denied"),
    Question("tenant:tenant-{tenant} actor:user:{actor}"),
    Question("action:{action} outcome:denied"),
    Question("actor:user:{actor} after:{month} before:{next_month}"),
    Question("tenant:tenant-{tenant} after:{month} before:{next_month}"),
    Question("action:{resource}.* tenant:tenant-{tenant}"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--logged", type=int, default=1_000_000, help="events in the log (1,000,000)")
    parser.add_argument(
        "--partition", type=int, default=generated_log.PARTITION, help="events of a partition, a multiple of 256"
    )
    parser.add_argument("--values", type=int, default=40, help="values of each filter (40)")
    parser.add_argument("--keep", action="store_true", help="keep the database, and use it if it is there")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Fills the log, then asks all questions by turns: for each value once, once more, and the rival."""
    if not (options.keep and exists(bench)):
        load.create(bench)
        generated_log.fill(bench, RUN, options.logged, report.progress, options.partition)
    size = f"{options.logged:,} events"
    again = {question: Measurement(question.query, question.query, "ms", ours=True) for question in QUESTIONS}
    first = {question: Measurement(question.query, question.query, "ms", ours=True) for question in QUESTIONS}
    rival = {question: Measurement(question.query, question.query, "ms") for question in QUESTIONS if question.rival}
    with bench.connect(RUN) as conn:
        for number in range(options.values):
            values = values_of(Random(number))
            for question in QUESTIONS:
                ask = partial(trail.search, conn, question.query.format(**values))
                first[question].values.append(milliseconds(ask))
                again[question].values.append(milliseconds(ask))
                if question.rival:
                    ask_rival = partial(rows, conn, RIVAL_ROWS.format(question.rival.format(**values)))
                    ask_rival()
                    rival[question].values.append(milliseconds(ask_rival))
            report.progress(f"asked for {number + 1} of {options.values} values")
    report.table(f"A page, {size}", list(again.values()))
    report.table(f"A page, asked for the first time, {size}", list(first.values()))
    report.table(f"A page of the rival, {size}", list(rival.values()))
    report_targets(report, list(again.values()))
    if not options.keep:
        bench.drop(RUN)


def report_targets(report: Report, pages: list[Measurement]) -> None:
    """Reports the slowest median of single filters and of combinations, and the slowest 99th percentile."""
    single = [page.median for page in pages if " " not in page.name]
    combined = [page.median for page in pages if " " in page.name]
    report.target("slowest single filter in ms", max(single), SINGLE_MS, limit=True)
    report.target("slowest combination in ms", max(combined), COMBINED_MS, limit=True)
    slowest = max(quantiles(page.values, n=100, method="inclusive")[-1] for page in pages)
    report.target("slowest 99th percentile in ms", slowest, SLOWEST_MS, limit=True)


def exists(bench: Bench) -> bool:
    """Returns whether the database of an earlier run was kept."""
    with bench.connect("postgres") as conn:
        return bool(conn.execute("SELECT FROM pg_database WHERE datname = %s", [RUN]).fetchall())


def values_of(random: Random) -> dict[str, object]:
    """Returns a value for each placeholder: frequent and rare ones as they occur in the log."""
    month = datetime(2024, 11, 1, tzinfo=UTC) + timedelta(days=random.randrange(690))
    resource = RESOURCES[int(60 * random.random() ** 2) // 5]
    return {
        "claim": int(200_000 * random.random() ** 1.5),
        "policy": random.randrange(50_000),
        "actor": int(3_000 * random.random() ** 1.2),
        "tenant": random.randrange(8),
        "resource": resource,
        "action": f"{resource}.{random.choice(VERBS)}",
        "month": month.date(),
        "next_month": (month + timedelta(days=30)).date(),
    }


def milliseconds(call: Callable[[], object]) -> float:
    """Returns the duration of a call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1_000


def rows(conn: load.Connection, query: str) -> list[Any]:
    """Returns the rows of a query."""
    return conn.execute(sql.SQL(query), prepare=False).fetchall()
