"""Seals, verifies, proves and reconciles one log, and measures how long each takes and how large proofs are."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg

from benchmarks.support import load
from benchmarks.support.report import Measurement, Report
from benchmarks.support.server import RUN, Bench
from pgaudit import AuditLog, Settings
from pgaudit.sealing import stored_tree, tree
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.packs.output import PackOutput
from pgaudit.sealing.packs.planning import plan_pack
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.reconcile import reconcile
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import verify
from pgaudit.trail.export.copying import copy

PROOFS: Final = 200
HELPERS: Final = 2
PACKED: Final = "target:claim:7"  # of a million generated events, about a hundred
CALL: Final = 1_000
WAL: Final = "SELECT current_setting('data_directory') || '/pg_wal', pg_current_wal_insert_lsn()::text"


def measure_log(bench: Bench, report: Report, size: int, signer: Signer) -> Measurement:
    """Seals and verifies one log, and proves some of its events. Returns how fast it was verified."""
    with bench.connect(RUN) as conn, ExitStack() as stack:
        tiles = rate("building the tiles", size, lambda: seal(conn, None))
        checkpoint = milliseconds("a checkpoint", lambda: seal(conn, signer))
        keys = [key.verifier for key in signer.keys]
        alone = rate("verifying, on one connection", size, lambda: verify(conn, keys=keys))
        helpers = [stack.enter_context(bench.connect(RUN)) for _ in range(HELPERS)]
        verified = rate(
            "verifying everything, as pgaudit verify", size, lambda: verify(conn, keys=keys, helpers=helpers)
        )
        tiled, random = stored_tree.tree_of(conn, size), Random(size)
        proof = Measurement("an inclusion proof", "proof", "ms", ours=True)
        for _ in range(PROOFS):
            index = random.randrange(size)
            proof.values.append(seconds(partial(tree.inclusion_proof, index, size, tiled.node)) * 1_000)
        hashes = len(tree.inclusion_proof(0, size, tiled.node))
    report.table(f"A log of {size:,} events", [tiles, alone, verified])
    report.table(f"A log of {size:,} events: a proof has {hashes} hashes", [checkpoint, proof])
    return verified


def measure_packs(bench: Bench, report: Report, size: int, signer: Signer, directory: Path) -> None:
    """Packs the events of one target, with a proof of each and with tiles."""
    policy, count = str(Policy.of([key.verifier for key in signer.keys])), 0
    kinds: dict[str, Kind] = {"a proof of each event": "proofs", "tiles": "tiles"}
    plain = Measurement("the events alone", "events", "bytes/event")
    files = {name: Measurement(f"with {name}", name, "bytes/event", ours=True) for name in kinds}
    zipped = {name: Measurement(f"with {name}, zipped", f"{name}.zip", "bytes/event", ours=True) for name in kinds}
    with bench.connect(RUN) as conn:
        for name, kind in kinds.items():
            count = pack(conn, policy, kind, directory / name)
            pack(conn, policy, kind, directory / f"{name}.zip")
            files[name].values.append(bytes_of(directory / name) / count)
            zipped[name].values.append((directory / f"{name}.zip").stat().st_size / count)
    plain.values.append((directory / "tiles" / "events.ndjson").stat().st_size / count)
    title = f"A pack of {count:,} events of {size:,}"
    report.table(title, [plain, *files.values(), *zipped.values()], plain)


def pack(conn: psycopg.Connection[Any], policy: str, kind: Kind, path: Path) -> int:
    """Writes a pack. Returns how many events it has."""
    output = PackOutput(path, plan_pack(conn, PACKED, policy, kind))
    copy(conn, output, None, lambda _: None)
    return output.stream.count


def bytes_of(directory: Path) -> int:
    """Returns how large the files of a directory are."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def measure_reconcile(bench: Bench, report: Report, count: int) -> None:
    """Records events with receipts, and reconciles the WAL with the queue, if the WAL is on this machine."""
    with bench.connect(RUN) as conn:
        ((directory, start),) = conn.execute(WAL).fetchall()
        if not Path(directory).is_dir():
            report.progress(f"nothing is reconciled: {directory} is not on this machine")
            return
        log = AuditLog(Settings(dsn=bench.conninfo(RUN), wal_receipts=True))
        for first in range(0, count, CALL):
            with conn.transaction():
                log.record(conn, *(load.event(number) for number in range(first, first + CALL)))
        found = rate("reconciling", count, lambda: reconcile(conn, Path(directory), start=start))
        found.unit = "receipts/s"
    report.table(f"{count:,} receipts in the WAL", [found])


def rate(name: str, size: int, work: Callable[[], object]) -> Measurement:
    """Measures how many events a second are worked on."""
    return Measurement(name, name, "events/s", [size / seconds(work)], ours=True)


def milliseconds(name: str, work: Callable[[], object]) -> Measurement:
    """Measures how long something takes."""
    return Measurement(name, name, "ms", [seconds(work) * 1_000], ours=True)


def seconds(work: Callable[[], object]) -> float:
    """Returns how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
