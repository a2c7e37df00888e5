"""What does sealing cost, and how fast is a log verified?

Variants: a worker with a checkpoint each second, and one that does not seal; verifying on one connection, and on three;
packs with a proof of each event, and with tiles.
Measured: events a second that the workers drain, and how long until a checkpoint covers them; then, on a log of
--logged events, events a second of building its tiles and of verifying it, ms of a checkpoint and of an inclusion
proof, bytes of packs for each event; receipts a second that are reconciled, if the WAL is on this machine.
Duration: about 5 minutes with 1,000,000 events; 40 with 10,000,000.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.support import contenders, databases, generated_log, load, proving
from benchmarks.support.contenders import drain, fetch_number
from benchmarks.support.report import Measurement, Report, ratio
from benchmarks.support.server import RUN, Bench
from pgaudit.sealing.keys import HighWaterMark, create, new_keys
from pgaudit.sealing.signer import Signer

NAME: Final = "benchmark.example.com/log"
NEVER: Final = "1000000"
DRAIN_RATIO: Final = 0.95
VERIFIED_A_SECOND: Final = 150_000
RECEIPTS: Final = 200_000
LAG: Final = """
    SELECT (1000 * max(extract(epoch FROM c.signed_at - b.persisted_at)))::bigint FROM pgaudit.batch b, LATERAL (
        SELECT signed_at FROM pgaudit.checkpoint WHERE size >= b.first_index + b.count ORDER BY size LIMIT 1) c
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--events", type=int, default=100_000, help="events that are drained (100,000)")
    parser.add_argument("--logged", type=int, default=1_000_000, help="events in the log that is verified (1,000,000)")


def run(bench: Bench, report: Report, options: argparse.Namespace) -> None:
    """Measures the cost to the drain by turns, then the rest on one log."""
    with TemporaryDirectory() as directory:
        key = Path(directory, "key")
        create(key, new_keys(NAME))
        measure_drain(bench, report, options, key)
        load.create(bench)
        generated_log.fill(bench, RUN, options.logged, report.progress)
        signer = Signer(new_keys(NAME), HighWaterMark(Path(directory, "mark")))
        verified = proving.measure_log(bench, report, options.logged, signer)
        report.target("events verified in a second", verified.median, VERIFIED_A_SECOND)
        proving.measure_packs(bench, report, options.logged, signer, Path(directory))
    load.create(bench)
    proving.measure_reconcile(bench, report, RECEIPTS)
    bench.drop(RUN, databases.QUEUED, databases.BUSINESS)


def measure_drain(bench: Bench, report: Report, options: argparse.Namespace, key: Path) -> None:
    """Drains the same queue by turns with and without sealing."""
    databases.create_queued(bench, options.events, 0, 0)
    plain = contenders.pgaudit()
    without = replace(plain, environment=plain.environment | {"PGAUDIT_CHECKPOINT_INTERVAL": NEVER})
    given = {"PGAUDIT_CHECKPOINT_INTERVAL": "1", "PGAUDIT_SIGNING_KEY": str(key), "PGAUDIT_HEARTBEAT_EVENTS": "0"}
    sealing = replace(plain, environment=plain.environment | given)
    measured = {
        without: Measurement("without sealing", "without", "events/s"),
        sealing: Measurement("a checkpoint each second", "sealing", "events/s", ours=True),
    }
    lag = Measurement("until a checkpoint covers a batch, longest", "lag", "ms", ours=True)
    for turn in range(options.rounds):
        for contender, measurement in measured.items():
            key.with_name("key.mark").unlink(missing_ok=True)  # each run begins with the log of the template
            bench.create(RUN, databases.QUEUED)
            measurement.values.append(drain(bench, contender, options.events, 0.0).rate)
        with bench.connect(RUN) as conn:
            lag.values.append(fetch_number(conn, LAG))
        report.progress(f"round {turn + 1} of {options.rounds}")
    report.table(f"Draining {options.events:,} events", list(measured.values()), measured[without])
    report.table("Signing meanwhile, each second", [lag])
    report.target("draining with sealing, of without", ratio(measured[sealing], measured[without]), DRAIN_RATIO)
