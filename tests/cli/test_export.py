"""``pgaudit export``: the whole story of an export, and what can happen on its way."""

import csv
import hashlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import trail
from pgaudit.grants import grant
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server, TemporaryServer
from tests.support.command_line import Run
from tests.support.events import events
from tests.support.jobs import persist_and_commit, queued_events_in, record_persist_and_commit
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles
from tests.support.standby import Standby
from tests.support.waiting import wait_until

# Runs the command; kills itself when it makes the n-th write durable. Each portion has a checkpoint.
KILLED = """
import os, signal, sys
from pgaudit.cli import run
from pgaudit.trail.export import files
files.CHECKPOINT_EVERY, left, fsync = 0.0, int(sys.argv[1]), os.fsync
def counted(descriptor):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)
os.fsync = counted
sys.exit(run(sys.argv[2:]))
"""
# Runs the command, and prints the most memory that it has used, in kB.
MEASURED = """
import resource, sys
from pgaudit.cli import run
if "parquet" in sys.argv:
    from pgaudit.trail.export import parquet
    parquet.GROUP_ROWS = 1_000
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""
FILL = """
    SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
        'id', gen_random_uuid(), 'action', CASE WHEN n %% 4 = 0 THEN 'claim.paid' ELSE 'claim.approved' END,
        'outcome', 'success', 'occurred_at', now(), 'schema_version', 1, 'tenant', 'north',
        'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', n::text)),
        'data', jsonb_build_object('amount', '10.50', 'text', repeat('x', %s)))))
      FROM generate_series(1, %s) AS n
"""
TEXTS = "SELECT string_agg(event::text || E'\\n', '' ORDER BY index) FROM pgaudit.audit_log"


def fill(conn: Connection, count: int, width: int = 10) -> None:
    """Appends that many events to the log."""
    conn.execute(FILL, [width, count])
    conn.commit()
    for _ in range(0, count, 10_000):
        persist_and_commit(conn, 10_000)


@pytest.fixture(scope="module")
def large_dsn(server: Server) -> Iterator[str]:
    """A database with a log of 20,000 events of 1 kB."""
    with fresh_database(server) as database:
        with psycopg.connect(database.dsn) as conn:
            fill(conn, 20_000, width=800)
            assert value(conn, "SELECT size FROM pgaudit.log_head") == 20_000
        yield database.dsn


def script(text: str, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of this file."""
    command = [sys.executable, "-c", text, *arguments]
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def accesses(dsn: str) -> list[dict[str, Any]]:
    """Returns the events about exports that were recorded."""
    return [event for event in queued_events_in(dsn) if event["action"].startswith("audit.export")]


def test_an_export_can_be_checked_against_the_log(run: Run, dsn: str, conn: Connection, tmp_path: Path) -> None:
    """A reader exports, the file is the stored text, its hashes hold, and the log says who has exported what."""
    fill(conn, 2_500)
    stored = value(conn, TEXTS)
    conn.commit()
    file = tmp_path / "claims.ndjson"
    with temporary_roles(dsn, "t_export_reader"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_export_reader")
        result = run("export", "--output", str(file), dsn=psycopg.conninfo.make_conninfo(dsn, user="t_export_reader"))
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f"2,500 events, index 0 to 2499, in {file}\n"
        assert file.read_text() == stored
        manifest = json.loads((tmp_path / "claims.ndjson.manifest.json").read_text())
        assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        begun, ended = accesses(dsn)
    assert begun["action"] == "audit.export_started"
    assert (ended["action"], ended["outcome"]) == ("audit.exported", "success")
    for event in (begun, ended):
        assert event["actor"] == {"type": "db_user", "id": "t_export_reader"}
        assert event["targets"] == [{"type": "export", "id": manifest["export_id"]}]
        assert event["recorded_by"] == "t_export_reader"
        assert {"query": "", "format": "ndjson", "log_size": 2_500}.items() <= event["data"].items()
        assert event["data"]["os_user"]
    found = {name: ended["data"][name] for name in ("count", "first_index", "last_index", "sha256")}
    assert found == {"count": 2_500, "first_index": 0, "last_index": 2_499, "sha256": manifest["sha256"]}
    persist_and_commit(conn)
    assert [entry.action for entry in trail.last(conn, 2)] == ["audit.export_started", "audit.exported"]


def test_a_query_format_and_columns_are_chosen(run: Run, conn: Connection, tmp_path: Path) -> None:
    """The format follows the name of the file; standard output has the same bytes, and nothing besides."""
    fill(conn, 40)
    file = tmp_path / "paid.csv"
    options = ("action:claim.paid", "--column", "data.amount")
    assert run("export", *options, "--output", str(file), "--quiet").stdout == ""
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    assert {(row["action"], row["data.amount"]) for row in rows} == {("claim.paid", "10.50")}
    assert len(rows) == 10
    piped = run("export", *options, "--output", "-", "--format", "csv")
    assert (piped.stdout, piped.stderr) == (file.read_text(), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paid.csv", "paid.csv.manifest.json"]
    run("export", "--output", str(tmp_path), "--format", "parquet")
    assert (tmp_path / "pgaudit-0-39.parquet").exists()


def test_a_finished_file_is_replaced_by_force_only(run: Run, conn: Connection, tmp_path: Path) -> None:
    """A refused export is not begun, so nothing is recorded."""
    fill(conn, 3)
    file = tmp_path / "file.csv"
    file.write_text("mine")
    refused = run("export", "--output", str(file))
    assert (refused.returncode, file.read_text()) == (1, "mine")
    assert "exists: name another file, or replace it with --force" in refused.stderr
    assert accesses(conn.info.dsn) == []
    assert run("export", "--output", str(file), "--force").returncode == 0
    assert file.read_text().startswith("index,")
    assert run("export", "--output", str(file), "--resume").returncode == 1


@pytest.mark.parametrize("format_", ["ndjson", "csv", "parquet"])
def test_an_export_killed_again_and_again_is_continued(
    conn: Connection, dsn: str, tmp_path: Path, format_: str
) -> None:
    """SIGKILL at any write leaves a file that --resume continues, to the bytes of an export that nothing interrupts."""
    fill(conn, 3_500)
    whole, file = tmp_path / f"whole.{format_}", tmp_path / f"file.{format_}"
    assert script(KILLED, dsn, "0", "export", "before:0s", "--output", str(whole)).returncode == 0
    killed = script(KILLED, dsn, "6", "export", "before:0s", "--output", str(file))
    for writes in (2, 5, 7, 5):
        assert killed.returncode == -signal.SIGKILL
        assert not file.exists()
        killed = script(KILLED, dsn, str(writes), "export", "--output", str(file), "--resume")
    result = script(KILLED, dsn, "0", "export", "before:0s", "--output", str(file), "--resume")
    assert (result.returncode, result.stderr) == (0, "")
    assert file.read_bytes() == whole.read_bytes()
    resumed = [event["data"]["resumed_at"] for event in accesses(dsn) if "resumed_at" in event["data"]]
    assert resumed == sorted(resumed)
    assert resumed[-1] > 1_000


def test_ctrl_c_leaves_an_export_to_be_continued(large_dsn: str, tmp_path: Path) -> None:
    """The log says that it broke off; another query does not continue it, the same one does."""
    file = tmp_path / "file.csv"
    command = [sys.executable, "-m", "pgaudit", "export", "--output", str(file)]
    environment = os.environ | {"PGAUDIT_DSN": large_dsn}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        partial = tmp_path / "file.csv.partial"
        wait_until("an event is written", lambda: partial.exists() and partial.stat().st_size > 10_000)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not file.exists()
    broken = accesses(large_dsn)[-1]
    assert (broken["action"], broken["outcome"], broken["reason"]) == ("audit.exported", "failure", "interrupted")
    assert "sha256" not in broken["data"]
    other = subprocess.run([*command, "tenant:south", "--resume"], env=environment, capture_output=True, check=False)
    assert b"continue it with these, or begin again with --force" in other.stderr
    subprocess.run([*command, "--resume"], env=environment, check=True)
    assert len(list(csv.reader(io.StringIO(file.read_bytes().decode(), newline="")))) == 20_001


@pytest.mark.parametrize("format_", ["ndjson", "csv", "parquet"])
def test_memory_does_not_grow_with_the_number_of_events(large_dsn: str, tmp_path: Path, format_: str) -> None:
    """20,000 events, 22 MB as text and far more as objects, take about as much memory as a quarter of them."""
    options = ("--format", format_, "--output", str(tmp_path), "-q")
    few, many = (
        int(script(MEASURED, large_dsn, "export", *options, query).stdout) for query in ("action:claim.paid", "")
    )
    assert many - few < 12_000


def test_progress_is_shown_on_a_terminal_only(large_dsn: str, tmp_path: Path) -> None:
    """A terminal shows the share of the log; --quiet, and a pipe, show nothing."""
    terminal, child = pty.openpty()
    command = [sys.executable, "-m", "pgaudit", "export", "--output", str(tmp_path / "file.csv")]
    subprocess.run(command, env=os.environ | {"PGAUDIT_DSN": large_dsn}, stderr=child, check=True)
    subprocess.run(
        [*command, "--force", "--quiet", "tenant:none"],
        env=os.environ | {"PGAUDIT_DSN": large_dsn},
        stderr=child,
        check=True,
    )
    os.close(child)
    shown = os.read(terminal, 1_000_000).decode()
    os.close(terminal)
    assert re.search(r"\r\d+ %, (about \S+ \w+ left, )?[\d,]+ events +\r", shown)
    assert shown.count("\r") > 4


def test_a_reader_that_ends_breaks_the_export_off(large_dsn: str) -> None:
    """`export --output - | head -1` is one sentence, and the log says that the export broke off."""
    command = f"{sys.executable} -m pgaudit export --output - | head -c 100"
    result = subprocess.run(
        command, shell=True, env=os.environ | {"PGAUDIT_DSN": large_dsn}, capture_output=True, text=True, check=True
    )
    assert result.stderr == "pgaudit: the reader of standard output has ended: the export is incomplete\n"
    assert accesses(large_dsn)[-1]["outcome"] == "failure"


def test_a_standby_exports_unrecorded_or_not_at_all(run: Run, tmp_path: Path) -> None:
    """A read-only session cannot record the export: it has to be said that this is known."""
    with ExitStack() as servers:
        primary = TemporaryServer()
        servers.callback(primary.stop)
        dsn = primary.conninfo_of("postgres")
        assert run("migrate", dsn=dsn).returncode == 0
        with psycopg.connect(dsn) as conn:
            assert record_persist_and_commit(conn, *events(5)) == []
        standby = Standby(primary)
        servers.callback(standby.stop)
        for_reading = standby.conninfo_of("postgres")
        refused = run("export", "--output", str(tmp_path / "file.csv"), dsn=for_reading)
        assert refused.returncode == 1
        assert "read-only, such as a standby, and cannot record the export" in refused.stderr
        assert list(tmp_path.iterdir()) == []
        result = run("export", "--output", str(tmp_path / "file.csv"), "--unrecorded", dsn=for_reading)
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads((tmp_path / "file.csv.manifest.json").read_text())["recorded"] is False
        refused = run("export", "--output", str(tmp_path / "other.csv"), "--unrecorded", dsn=dsn)
        assert "can record the export: leave out --unrecorded" in refused.stderr
