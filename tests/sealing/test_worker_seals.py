"""The story of a sealed log: a worker seals what an application records, and a reader verifies it with public keys."""

import json
from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.worker import start_in_thread
from tests.support.command_line import run_anew
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.queries import value
from tests.support.tampering import tamper
from tests.support.waiting import wait_until

VERIFIED = "SELECT max(end_index) FROM pgaudit.verification WHERE findings = 0"
SIZE = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a new signing key."""
    path = tmp_path / "claims.key"
    made = run_anew("keys", "new", "--name", "audit.example.com/claims", "--output", str(path))
    assert made.returncode == 0, made.stderr
    assert made.stdout == path.with_name("claims.key.pub").read_text().splitlines(keepends=True)[1]
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def test_a_worker_seals_and_a_reader_verifies(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """Events are signed within the interval; the owner who alters one is caught by whoever has the public key."""
    vkey = key.with_name("claims.key.pub").read_text().splitlines()[1]
    settings = Settings(dsn=dsn, signing_key=str(key), checkpoint_interval=0.2, verify_interval=0.5)
    record_and_commit(conn, *events(300))
    worker = start_in_thread(settings)
    try:
        wait_until("a checkpoint of all events and a heartbeat", lambda: value(conn, SIZE) == 301)
        record_and_commit(conn, *events(10))
        wait_until("a checkpoint of ten more", lambda: value(conn, SIZE) == 311)
        wait_until("a verification of all of them", lambda: value(conn, VERIFIED) == 311)
    finally:
        worker.stop()
    clean = run_anew("verify", "--json", "--vkey", vkey, PGAUDIT_DSN=dsn)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    told = json.loads(clean.stdout)
    assert (told["verified"], told["level"], told["unsealed"]) == (True, "signed", 0), told
    tamper(conn, 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7')
    caught = run_anew("verify", "--vkey", vkey, PGAUDIT_DSN=dsn)
    assert caught.returncode == 1
    assert caught.stdout.startswith("altered: event 7 was altered: its content is not what was sealed\n"), caught.stdout


def test_a_log_without_checkpoints_is_not_verified_by_its_key(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """Whoever removes all checkpoints does not pass for clean; without a key, the level says how little that is."""
    vkey = key.with_name("claims.key.pub").read_text().splitlines()[1]
    record_persist_and_commit(conn, *events(5))
    bare = run_anew("verify", PGAUDIT_DSN=dsn)
    assert (bare.returncode, "Assurance: hashed." in bare.stdout) == (0, True)
    keyed = run_anew("verify", "--vkey", vkey, PGAUDIT_DSN=dsn)
    assert (keyed.returncode, keyed.stdout.partition(":")[0]) == (1, "unsigned")


def test_exit_codes(dsn: str) -> None:
    """1 if there is nothing to verify, 2 if it cannot be seen."""
    assert run_anew("verify", PGAUDIT_DSN=dsn).returncode == 1
    assert run_anew("verify", PGAUDIT_DSN=f"{dsn} dbname=nowhere").returncode == 2


def test_a_key_is_rotated_and_the_old_one_still_verifies(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """The change is an event; both public keys stay in the file beside."""
    old = key.read_text()
    rotated = run_anew("keys", "rotate", str(key), PGAUDIT_DSN=dsn)
    assert rotated.returncode == 0, rotated.stderr
    assert key.read_text() != old
    shown = run_anew("keys", "show", str(key)).stdout.splitlines()
    assert run_anew("keys", "show", f"{key}.pub").stdout.splitlines() == shown
    assert len(shown) == 2
    (job,) = conn.execute("SELECT event FROM pgaudit.audit_jobs").fetchall()
    assert job[0]["action"] == "audit.key_rotated"
    assert [*job[0]["data"]["new"], *job[0]["data"]["old"]] == shown


def test_a_worker_anchors_and_an_older_copy_is_noticed(
    conn: psycopg.Connection, dsn: str, key: Path, tmp_path: Path
) -> None:
    """What the anchor has is compared with the log: cut with its tiles and checkpoints, the log is rolled back."""
    anchor = tmp_path / "anchors"
    anchor.mkdir()
    settings = Settings(
        dsn=dsn, signing_key=str(key), checkpoint_interval=0.2, heartbeat_events=0, anchors=f"file:{anchor}"
    )
    worker = start_in_thread(settings)
    try:
        for count in (5, 10):
            record_and_commit(conn, *events(5))
            wait_until("an anchored checkpoint", lambda: len(list(anchor.iterdir())) * 5 == count)  # noqa: B023 - called here
    finally:
        worker.stop()
    vkey = key.with_name("claims.key.pub").read_text().splitlines()[1]
    given = ("verify", "--json", "--vkey", vkey, "--anchor", f"file:{anchor}")
    clean = run_anew(*given, PGAUDIT_DSN=dsn)
    assert (clean.returncode, json.loads(clean.stdout)["level"]) == (0, "anchored"), clean.stdout + clean.stderr
    cut = ["audit_log WHERE index > 4", "batch WHERE first_index > 4", "checkpoint WHERE size > 5"]
    tamper(conn, *(f"DELETE FROM pgaudit.{rows}" for rows in cut))
    told = json.loads(run_anew(*given, PGAUDIT_DSN=dsn).stdout)
    assert [finding["name"] for finding in told["findings"]] == ["rolled_back"]
    assert run_anew("verify", "--anchor", "file:/nowhere/at/all", PGAUDIT_DSN=dsn).returncode == 2
