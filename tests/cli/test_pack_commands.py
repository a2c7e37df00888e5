"""``pgaudit export --proof`` and ``pgaudit verify-pack``: from a sealed log to someone who has only the pack."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit.grants import grant
from pgaudit.sealing.keys import HighWaterMark, create, load, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.support.command_line import Run
from tests.support.events import events
from tests.support.jobs import persist_and_commit, queued_events_in, record_persist_and_commit
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.tampering import tamper

# Runs the command, and prints the most memory that it has used, in kB.
MEASURED = """
import resource, sys
from pgaudit.cli import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""
FILL = """
    SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
        'id', gen_random_uuid(), 'action', CASE WHEN n %% 10 = 0 THEN 'claim.paid' ELSE 'claim.approved' END,
        'outcome', 'success', 'occurred_at', now(), 'schema_version', 1, 'data', jsonb_build_object('n', n))))
      FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the key of the log."""
    path = tmp_path / "keys" / "claims.key"
    path.parent.mkdir()
    create(path, new_keys("audit.example.com/claims"))
    return path


@pytest.fixture
def policy(key: Path, tmp_path: Path) -> Path:
    """The policy of the reader: the public key of the log."""
    path = tmp_path / "trusted"
    public = key.with_name("claims.key.pub").read_text().splitlines()[-1]
    path.write_text(f"log {public}\nquorum none\n")
    return path


def sealed(conn: Connection, key: Path, count: int) -> None:
    """Appends events, and seals the log."""
    assert record_persist_and_commit(conn, *events(count)) == []
    conn.commit()
    assert seal(conn, Signer(load(str(key)), HighWaterMark(key.with_name("mark"))))


def accesses(dsn: str) -> list[dict[str, Any]]:
    """Returns the events about exports that were recorded."""
    return [event for event in queued_events_in(dsn) if event["action"].startswith("audit.export")]


def test_a_reader_exports_what_others_verify(run: Run, dsn: str, conn: Connection, key: Path, policy: Path) -> None:
    """Newer events are left out, and said to be; the export is recorded; both verifiers accept the pack."""
    sealed(conn, key, 30)
    record_persist_and_commit(conn, *events(3))
    pack = policy.with_name("pack.zip")
    with temporary_roles(dsn, "t_pack_reader"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_pack_reader")
        reader = psycopg.conninfo.make_conninfo(dsn, user="t_pack_reader")
        options = ("--proof", "--policy", str(policy), "--output", str(pack))
        result = run("export", "target:claim:1,claim:2,claim:29", *options, dsn=reader)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == (
            f"3 events, index 1 to 29, with proofs in {pack}\n2 newer events that the query finds are left out: the "
            "newest signed checkpoint is of the first 30 events\n"
        )
        begun, ended = accesses(dsn)
    assert begun["action"] == "audit.export_started"
    assert (ended["action"], ended["outcome"]) == ("audit.exported", "success")
    for event in (begun, ended):
        assert event["actor"] == {"type": "db_user", "id": "t_pack_reader"}
        assert {"format": "ndjson", "log_size": 30, "proof": "proofs"}.items() <= event["data"].items()
    result = run("verify-pack", str(pack), "--policy", str(policy))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "VERIFIED."
    assert "Each of the 3 events, index 1 to 29, is one of these, exactly." in result.stdout
    assert "Not shown: that these are all events" in result.stdout
    assert "who signed" not in result.stdout
    directory = policy.with_name("unpacked")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", pack, directory], check=True)
    program = [sys.executable, "-I", "-S", str(directory / "verify.py"), "--policy", str(policy)]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.endswith("VERIFIED.\n")


def test_all_events_of_a_claim(run: Run, dsn: str, conn: Connection, key: Path, policy: Path) -> None:
    """And that there is none of another; export and verifiers say until when, and what is not shown yet."""
    signer = Signer(load(str(key)), HighWaterMark(key.with_name("mark")))
    log = Log(conn, signer)
    log.day(MONDAY, "claim:7", "claim:8", "claim:7")
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=1))
    log.append("claim:7")
    conn.commit()
    pack = policy.with_name("pack")
    options = ("--proof", "--complete", "--policy", str(policy), "--output")
    shown = [
        "These are all events of claim:7 up to index 3, sealed until the end of 2026-11-23 (UTC).",
        "After that, the pack has 1 event. Not shown yet: whether there are more.",
    ]
    result = run("export", "target:claim:7", *options, str(pack))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1:3] == shown
    assert result.stdout.splitlines()[0] == f"3 events, index 0 to 5, with proofs in {pack}"
    assert [event["data"]["complete"] for event in accesses(dsn)] == [True, True]
    result = run("verify-pack", str(pack), "--policy", str(policy))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[3:5] == shown
    assert "Not shown: that these are all" not in result.stdout
    result = run("export", "target:claim:9", *options, f"{pack}.zip")
    none = "There are no events of claim:9 up to index 3, sealed until the end of 2026-11-23 (UTC)."
    assert result.stdout.splitlines()[:2] == [f"0 events in {pack}.zip", none]
    result = run("verify-pack", f"{pack}.zip", "--policy", str(policy))
    assert (result.returncode, none in result.stdout, "VERIFIED." in result.stdout) == (0, True, True)


def test_the_keys_beside_the_private_one_are_the_default(
    run: Run, conn: Connection, key: Path, policy: Path, tmp_path: Path
) -> None:
    """Where the signer's key is at hand, or a key is named; else a policy has to be."""
    sealed(conn, key, 3)
    refused = run("export", "--proof", "--output", str(tmp_path / "none"))
    assert refused.returncode == 1
    assert "name a file with them, --policy FILE" in refused.stderr
    result = run("export", "--proof", "--tiles", "--output", str(tmp_path / "pack"), PGAUDIT_SIGNING_KEY=str(key))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"3 events, index 0 to 2, with proofs in {tmp_path / 'pack'}\n"
    vkey = policy.read_text().split()[1]
    whole = run("verify-pack", str(tmp_path / "pack"), "--vkey", vkey)
    assert (whole.returncode, "The pack has all of them." in whole.stdout) == (0, True)
    assert "Not shown: who signed." in run("verify-pack", str(tmp_path / "pack")).stdout


def test_verify_pack_ends_with_0_1_or_2(run: Run, conn: Connection, key: Path, policy: Path, tmp_path: Path) -> None:
    """Verified; not, with the reason; or not checked at all."""
    sealed(conn, key, 3)
    pack = tmp_path / "pack"
    options = ("--proof", "--policy", str(policy), "--quiet", "--output", str(pack))
    assert run("export", *options).stdout == ""
    events_file = pack / "events.ndjson"
    events_file.write_bytes(events_file.read_bytes().replace(b'"id": "1"', b'"id": "2"'))
    altered = run("verify-pack", str(pack), "--policy", str(policy))
    assert (altered.returncode, altered.stdout.count("\n")) == (1, 1)
    assert altered.stdout.startswith("NOT VERIFIED: events.ndjson, index 1: ")
    for arguments in (
        (str(tmp_path / "none"),),
        (str(pack), "--policy", str(tmp_path / "none")),
        (str(pack), "--vkey", "nonsense"),
        (str(pack), "--vkey", policy.read_text().split()[1], "--policy", str(policy)),
        (str(policy),),
    ):
        unchecked = run("verify-pack", *arguments)
        assert (unchecked.returncode, unchecked.stdout[:16]) == (2, "COULD NOT CHECK:"), unchecked.stdout


def test_what_cannot_be_proved_is_refused(run: Run, dsn: str, conn: Connection, key: Path, tmp_path: Path) -> None:
    """Before anything is recorded or written."""
    policy = tmp_path / "other"
    policy.write_text(f"log {new_keys('audit.example.com/claims')[0].verifier}\nquorum none\n")
    options = ("--proof", "--policy", str(policy), "--output", str(tmp_path / "pack"))
    unsealed = run("export", *options)
    assert (unsealed.returncode, "there is no signed checkpoint" in unsealed.stderr) == (1, True)
    sealed(conn, key, 3)
    unmet = run("export", *options)
    assert (unmet.returncode, "does not meet the policy" in unmet.stderr) == (1, True)
    conn.execute("""SELECT pgaudit.note_verification(0, 3, true, NULL, 1, '[{"message": "index 1 was altered"}]')""")
    conn.commit()
    failed = run("export", "--proof", "--output", str(tmp_path / "pack"), PGAUDIT_SIGNING_KEY=str(key))
    assert (failed.returncode, "nothing is proved: index 1 was altered" in failed.stderr) == (1, True)
    for more in (("--format", "csv"), ("--column", "data.a"), ("--bom",), ("--resume",)):
        refused = run("export", *options, *more)
        assert (refused.returncode, "--proof excludes" in refused.stderr) == (1, True)
    assert "name one with --output" in run("export", "--proof", "--output", "-").stderr
    for option in ("--tiles", "--complete"):
        assert "add --proof" in run("export", option, "--output", str(tmp_path / "file")).stderr
    other = run("export", "action:claim.*", *options, "--complete")
    assert (other.returncode, "the query has to be target:TYPE:ID" in other.stderr) == (1, True)
    assert accesses(dsn) == []
    assert not (tmp_path / "pack").exists()


def test_an_interrupted_pack_leaves_nothing_but_its_events_in_the_log(
    run: Run, dsn: str, conn: Connection, key: Path, policy: Path
) -> None:
    """Its end is recorded as a failure."""
    sealed(conn, key, 3)
    tamper(conn, """UPDATE pgaudit.audit_log SET event = event || '{"tenant": "south"}' WHERE index = 1""")
    result = run("export", "--proof", "--policy", str(policy), "--output", str(policy.parent / "pack"))
    assert (result.returncode, "run `pgaudit verify`" in result.stderr) == (1, True)
    assert [(event["action"], event["outcome"]) for event in accesses(dsn)] == [
        ("audit.export_started", "success"),
        ("audit.exported", "failure"),
    ]
    assert [path.name for path in policy.parent.iterdir() if path.name.startswith("pack")] == []


@pytest.fixture(scope="module")
def large(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The DSN of a sealed log of 40,000 events, and the key of the log."""
    (signing,) = new_keys("audit.example.com/claims")
    with fresh_database(server) as database:
        with psycopg.connect(database.dsn) as conn:
            conn.execute(FILL, [40_000])
            conn.commit()
            for _ in range(4):
                persist_and_commit(conn, 10_000)
            assert seal(conn, Signer([signing], HighWaterMark(tmp_path_factory.mktemp("signer") / "mark")))
        yield database.dsn, str(signing.verifier)


def test_memory_does_not_grow_with_the_size_of_a_pack(large: tuple[str, str], tmp_path: Path) -> None:
    """A pack of all events is written, and verified, in about the memory that a tenth of them takes."""
    dsn, vkey = large

    def memory(*arguments: str) -> int:
        command = [sys.executable, "-c", MEASURED, *arguments, "--vkey", vkey]
        result = subprocess.run(
            command, env=os.environ | {"PGAUDIT_DSN": dsn}, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return int(result.stdout.splitlines()[-1])

    few, many = (
        memory("export", query, "--proof", "--tiles", "--output", str(tmp_path / name))
        for query, name in (("action:claim.paid", "few.zip"), ("", "many.zip"))
    )
    assert many - few < 12_000
    few, many = (memory("verify-pack", str(tmp_path / name)) for name in ("few.zip", "many.zip"))
    assert many - few < 12_000


def test_progress_is_shown_on_a_terminal(large: tuple[str, str], tmp_path: Path) -> None:
    """The share of the log that was looked through."""
    dsn, vkey = large
    terminal, child = pty.openpty()
    command = [sys.executable, "-m", "pgaudit", "export", "--proof", "--tiles", "--vkey", vkey, "--output"]
    subprocess.run([*command, str(tmp_path / "pack")], env=os.environ | {"PGAUDIT_DSN": dsn}, stderr=child, check=True)
    os.close(child)
    shown = os.read(terminal, 1_000_000).decode()
    os.close(terminal)
    assert re.search(r"\r\d+ %, (about \S+ \w+ left, )?[\d,]+ events +\r", shown)
