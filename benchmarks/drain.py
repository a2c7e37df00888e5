"""How fast one worker empties the queue, beside stock Procrastinate's and a plain INSERT … SELECT."""

import time
from typing import Final

from benchmarks import peers, workers
from benchmarks.figures import Figure, ratio
from benchmarks.report import Report
from benchmarks.server import RUN, Bench

COPY: Final = "INSERT INTO pgaudit.audit_log SELECT * FROM finished ORDER BY index"
REGISTERED: Final = "SELECT EXISTS (SELECT FROM pgaudit.procrastinate_workers)"
DRAINED: Final = "SELECT size >= %s FROM pgaudit.log_head"
STOCK_REGISTERED: Final = "SELECT EXISTS (SELECT FROM stock.procrastinate_workers)"
STOCK_DRAINED: Final = "SELECT NOT EXISTS (SELECT FROM stock.procrastinate_jobs WHERE status IN ('todo', 'doing'))"
STORED: Final = "SELECT count(*) FROM pgaudit.audit_log"
IDLE: Final = 10.0


def run(bench: Bench, report: Report, events: int, stock_events: int, rounds: int) -> None:
    """Takes all figures by turns, and notes the targets."""
    report.progress(f"queueing {events:,} events")
    peers.create_queued(bench, events, stock_events)
    copy = Figure("INSERT … SELECT of finished rows", "copy", "events/s")
    ours = Figure("a worker", "worker", "events/s")
    stock = {each: Figure(f"stock worker, concurrency {each}", f"stock {each}", "events/s") for each in (1, 10)}
    memory = Figure("peak memory of a worker", "memory", "MB")
    idle = Figure("an idle worker", "idle", "% of a core")
    for number in range(rounds):
        copy.values.append(copied(bench, events))
        drained(bench, events, ours, memory, idle)
        for concurrency, figure in stock.items():
            figure.values.append(drained_by_stock(bench, stock_events, concurrency))
        rates = ", ".join(f"{figure.values[-1]:,.0f}" for figure in (copy, ours, *stock.values()))
        report.progress(f"round {number + 1}/{rounds}: copy, worker, stock 1 and 10: {rates} events/s")
    report.table(
        f"Draining {events:,} events (stock: {stock_events:,})", [copy, ours, *stock.values()], copy, stock[10]
    )
    report.table("What a worker uses", [memory])
    report.table("What it uses when the queue is empty", [idle])
    report.target("worker, times the better stock worker", min(ratio(ours, figure) for figure in stock.values()), 40)
    report.target("worker, of INSERT … SELECT", ratio(ours, copy), 0.45)
    report.target("worker, peak memory in MB", max(memory.values), 150, limit=True)
    report.target("idle worker, % of a core", idle.median, 2, limit=True)
    bench.drop(RUN, peers.QUEUED, peers.BUSINESS)


def copied(bench: Bench, events: int) -> float:
    """Events a second of one statement that has nothing else to do."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn:
        start = time.perf_counter()
        conn.execute(COPY)
        return events / (time.perf_counter() - start)


def drained(bench: Bench, events: int, rate: Figure, memory: Figure, idle: Figure) -> None:
    """One worker process, from its registration to the last commit; then what it uses with nothing to do."""
    bench.create(RUN, peers.QUEUED)
    with bench.connect(RUN) as conn, workers.worker(bench.conninfo(RUN), *workers.PGAUDIT) as process:
        start = workers.wait_for(conn, REGISTERED, process, pause=0.005)
        rate.values.append(events / (workers.wait_for(conn, DRAINED, process, events) - start))
        expect(conn.execute(STORED).fetchone(), events)
        memory.values.append(workers.peak_megabytes(process))
        time.sleep(1)  # the last run of the task lingers
        idle.values.append(workers.cpu_share(process, IDLE))


def drained_by_stock(bench: Bench, events: int, concurrency: int) -> float:
    """The same for a worker of stock Procrastinate."""
    bench.create(RUN, peers.QUEUED)
    command = [*workers.STOCK, peers.stock_conninfo(bench, RUN), str(concurrency)]
    with bench.connect(RUN) as conn, workers.worker(bench.conninfo(RUN), *command) as process:
        start = workers.wait_for(conn, STOCK_REGISTERED, process, pause=0.005)
        rate = events / (workers.wait_for(conn, STOCK_DRAINED, process, pause=0.05) - start)
        expect(conn.execute(STORED).fetchone(), events)
        return rate


def expect(row: tuple[int] | None, events: int) -> None:
    """Refuses a figure that was won by losing events."""
    if row != (events,):
        raise RuntimeError(f"{row} events in the log, expected {events}")
