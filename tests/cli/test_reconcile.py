"""``pgaudit reconcile``: its exit codes, its sentences and its JSON."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from pgaudit import AuditLog, Settings
from pgaudit.testing.server import TemporaryServer
from tests.support.command_line import Run
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.servers import migrated_server


@pytest.fixture(scope="module")
def wal_server() -> Iterator[TemporaryServer]:
    """A server with an event in the log and one in the queue, both with receipts, and a lost one."""
    with migrated_server() as server, psycopg.connect(server.conninfo) as conn:
        audit = AuditLog(Settings(dsn=server.conninfo, wal_receipts=True))
        for count in (1, 2):
            audit.record(conn, *events(count))
            conn.commit()
            conn.execute("SELECT pgaudit.persist(NULL, NULL, 1)")
            conn.commit()
        yield server


@pytest.fixture
def reconcile(run: Run, wal_server: TemporaryServer) -> Run:
    """Runs the command with the WAL of that server."""
    return lambda *arguments: run(
        "reconcile", "--wal", str(wal_server.home / "data" / "pg_wal"), *arguments, dsn=wal_server.conninfo
    )


def test_a_reconciled_wal_exits_with_0(reconcile: Run) -> None:
    """The verdict comes first, and what was read."""
    result = reconcile()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    verdict, read = result.stdout.splitlines()
    assert verdict == (
        "Reconciled: of 3 events that were committed, 2 are in the log, 1 in the queue, 0 acknowledged, 0 known "
        "already; 0 are lost, 0 altered"
    )
    assert read.startswith("Read: timeline 1 from 0/01000000 to 0/")


def test_every_event_can_be_asked_for(reconcile: Run) -> None:
    """The verdict then says how many events of the log have no receipt."""
    result = reconcile("--every", "--quiet")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0].endswith("0 are lost, 0 altered; 0 events of the log have no receipt")


def test_a_lost_event_exits_with_1(reconcile: Run, wal_server: TemporaryServer) -> None:
    """It is named by hash, position, transaction and time; as JSON, with the same."""
    with psycopg.connect(wal_server.conninfo) as conn:
        (leaf_hash,) = conn.execute("SELECT encode(leaf_hash, 'hex') FROM pgaudit.audit_jobs").fetchone() or ("",)
        conn.execute("ALTER TABLE pgaudit.audit_jobs DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM pgaudit.audit_jobs")
    result = reconcile()
    assert result.returncode == 1
    lost, verdict, _ = result.stdout.splitlines()
    assert lost.startswith(f"lost: a committed event is in neither the log nor the queue (leaf hash {leaf_hash}, at 0/")
    assert verdict.startswith("Not reconciled: of 3 events that were committed, 2 are in the log, 0 in the queue")
    report = json.loads(reconcile("--json").stdout)
    assert (report["reconciled"], report["lost"], report["findings"][0]["leaf_hash"]) == (False, 1, leaf_hash)


def test_a_wal_without_receipts_exits_with_1(reconcile: Run, wal_server: TemporaryServer) -> None:
    """Nothing to check is not the same as reconciled."""
    with psycopg.connect(wal_server.conninfo, autocommit=True) as conn:
        conn.execute("CREATE TABLE more ()")
        (here,) = conn.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
        conn.execute("CREATE TABLE and_more ()")
    result = reconcile("--start", here)
    assert (result.returncode, result.stdout.splitlines()[0]) == (
        1,
        (
            "Nothing to check: the WAL has no receipts of this database; set PGAUDIT_WAL_RECEIPTS=on where events are "
            "recorded"
        ),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "soon"], "soon is neither a position in the WAL, such as 16/B374D848, nor a WAL file there"),
        (["--timeline", "7"], "has no WAL file of timeline 7"),
        (["--pg-waldump", "/bin/false"], "was not found"),
    ],
)
def test_what_cannot_be_checked_exits_with_2(reconcile: Run, options: list[str], message: str) -> None:
    """One sentence says what to do."""
    result = reconcile(*options)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_database_that_does_not_answer_exits_with_2(run: Run) -> None:
    """It is not known whether anything is missing."""
    assert run("reconcile", dsn="host=127.0.0.1 port=1 connect_timeout=2").returncode == 2


def test_without_wal_it_says_what_is_proved_and_what_is_not(run: Run, conn: psycopg.Connection) -> None:
    """What log and queue prove, and that nothing is proved of deleted events."""
    record_persist_and_commit(conn, *events(2))
    result = run("reconcile")
    assert (result.returncode, result.stderr) == (0, "")
    queue, transactions, unproved = result.stdout.splitlines()
    assert queue == "Queue: 0 jobs; 0 have another event than their leaf hash says."
    assert transactions.startswith("Transactions of the 0 jobs and 2 events of the log: 2 committed")
    assert unproved.startswith("Not proved: that no job was deleted from the queue")


def test_options_of_the_wal_need_a_wal(run: Run) -> None:
    """They have no effect without it, so they are refused."""
    result = run("reconcile", "--start", "0/0")
    assert (result.returncode, result.stderr) == (
        2,
        (
            "pgaudit: Invalid value: --start, --end, --timeline, --pg-waldump and --every are for --wal; "
            "see `pgaudit reconcile --help`\n"
        ),
    )
