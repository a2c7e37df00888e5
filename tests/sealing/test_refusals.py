"""When nothing is signed: health and signals say why, and recording and persisting go on."""

from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings, health, signals
from pgaudit.errors import InvalidKey, LogDamaged, RolledBack
from pgaudit.health import Status
from pgaudit.sealing.keys import HighWaterMark, create, new_keys
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import since_last, verify
from pgaudit.worker import start_in_thread
from pgaudit.worker.sealing import seal_once
from pgaudit.worker.verification import verify_once
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.queries import value
from tests.support.tampering import tamper
from tests.support.waiting import wait_until

NAME = "audit.example.com/claims"
SIGNED = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
LOGGED = "SELECT size FROM pgaudit.log_head"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a new signing key."""
    create(tmp_path / "key", new_keys(NAME))
    return tmp_path / "key"


def settings_of(dsn: str, key: Path) -> Settings:
    """Settings of a worker that seals often, and records no heartbeat."""
    return Settings(dsn=dsn, signing_key=str(key), checkpoint_interval=0.1, heartbeat_events=0, verify_interval=0.1)


def check_of(conn: psycopg.Connection, name: str) -> tuple[Status, str]:
    """Status and sentence of one check of health."""
    (check,) = (check for check in health.check(conn).checks if check.name == name)
    return check.status, check.message


def test_a_restored_older_copy_is_not_signed(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """The worker goes on persisting; health is unhealthy and a signal is sent, once, until the newer copy is back."""
    told: list[str] = []
    record_and_commit(conn, *events(5))
    HighWaterMark(key.with_name("key.mark")).advance(Checkpoint(NAME, 9, bytes(32)))
    with signals.sealing_refused.connected_to(lambda _name, kind, **_details: told.append(kind)):
        worker = start_in_thread(settings_of(dsn, key))
        try:
            wait_until("the refusal", lambda: told)
            record_and_commit(conn, *events(2))
            wait_until("the log to grow", lambda: value(conn, LOGGED) == 7)
            refused = "has 7 events, and a checkpoint of 9 was signed"
            wait_until("the next refusal", lambda: refused in check_of(conn, "sealing")[1])
            assert check_of(conn, "sealing")[0] is Status.UNHEALTHY
            assert value(conn, SIGNED) == 0
            key.with_name("key.mark").unlink()
            wait_until("a checkpoint", lambda: value(conn, SIGNED) == 7)
            wait_until("health", lambda: check_of(conn, "sealing")[0] is Status.HEALTHY)
        finally:
            worker.stop()
    assert told == ["rolled_back"]


def test_an_empty_copy_is_not_signed(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """A database without any event, in the place of one that was signed, is an older copy, too."""
    HighWaterMark(key.with_name("key.mark")).advance(Checkpoint(NAME, 9, bytes(32)))
    conn.autocommit = True
    with pytest.raises(RolledBack, match="has 0 events, and a checkpoint of 9 was signed"):
        seal(conn, Signer.of(settings_of(dsn, key)))
    assert check_of(conn, "sealing")[0] is Status.UNHEALTHY


def test_a_log_that_is_shorter_than_its_last_checkpoint_is_not_signed(
    conn: psycopg.Connection, dsn: str, key: Path
) -> None:
    """Even if the mark is lost: the checkpoint in the database tells, and the mark is not set back."""
    record_persist_and_commit(conn, *events(5))
    conn.autocommit = True
    signer = Signer.of(settings_of(dsn, key))
    assert signer
    assert seal(conn, signer) is not None
    tamper(conn, "DELETE FROM pgaudit.audit_log WHERE index > 2", "TRUNCATE pgaudit.batch")
    signer.mark.path.unlink()
    with pytest.raises(RolledBack, match="has 0 events, and a checkpoint of 5 is stored: events were removed"):
        seal(conn, signer)
    assert signer.mark.read() is None


def test_a_log_that_does_not_verify_is_not_signed(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """The next verification finds the altered event; then nothing is signed until one finds nothing."""
    settings = settings_of(dsn, key)
    signer = Signer.of(settings)
    record_persist_and_commit(conn, *events(5))
    conn.autocommit = True
    assert seal(conn, signer) is not None
    tamper(conn, 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 3')
    verify_once(settings)
    record_persist_and_commit(conn, *events(5))
    with pytest.raises(LogDamaged, match=r"the last verification has failed: event 3 was altered"):
        seal(conn, signer)
    assert check_of(conn, "verification")[0] is Status.UNHEALTHY
    assert value(conn, SIGNED) == 5
    tamper(conn, "UPDATE pgaudit.audit_log SET event = event - 'reason' WHERE index = 3")

    def passes() -> bool:
        verify_once(settings)
        return bool(value(conn, "SELECT findings = 0 FROM pgaudit.verification ORDER BY id DESC LIMIT 1"))

    wait_until("a verification that finds nothing", passes)
    assert seal(conn, signer) is not None
    assert check_of(conn, "sealing")[0] is Status.HEALTHY


def test_events_behind_the_last_checkpoint_are_verified_again(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """A verification goes on from what was sealed when the last one looked, of which there are tiles."""
    settings = settings_of(dsn, key)
    record_persist_and_commit(conn, *events(300))
    conn.autocommit = True
    assert seal(conn, Signer.of(settings)) is not None
    record_persist_and_commit(conn, *events(300))
    verify_once(settings)
    assert since_last(conn) == 256
    result = verify(conn, first=since_last(conn))
    assert (result.findings, result.end) == ([], 600)


def test_a_verification_that_misses_tiles_has_failed(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """The tiles from which it would go on were removed: that is a finding, too."""
    settings = settings_of(dsn, key)
    record_persist_and_commit(conn, *events(600))
    conn.autocommit = True
    assert seal(conn, Signer.of(settings)) is not None
    verify_once(settings)
    tamper(conn, "DELETE FROM pgaudit.tile WHERE number = 0", "UPDATE pgaudit.sealing_state SET verifying_at = NULL")
    with signals.verification_failed.connected_to(lambda _name, **details: told.append(details["finding"])):
        told: list[str] = []
        verify_once(settings)
    assert told == ["missing"]
    status, message = check_of(conn, "verification")
    assert (status, "tile" in message and "missing" in message) == (Status.UNHEALTHY, True)


def test_a_lost_key_is_seen_in_health(conn: psycopg.Connection, dsn: str, key: Path) -> None:
    """The worker that should sign says why it cannot; one without a key does not take that back."""
    record_persist_and_commit(conn, *events(5))
    conn.autocommit = True
    settings = settings_of(dsn, key)
    key.unlink()
    with pytest.raises(InvalidKey):
        seal_once(settings)
    assert seal(conn, None) is None
    status, message = check_of(conn, "sealing")
    assert (status, "cannot read" in message) == (Status.UNHEALTHY, True)


def test_a_log_with_a_hole_is_not_sealed(conn: psycopg.Connection, key: Path, dsn: str) -> None:
    """Neither as tiles nor as a checkpoint."""
    record_persist_and_commit(conn, *events(300))
    conn.autocommit = True
    tamper(conn, "DELETE FROM pgaudit.audit_log WHERE index = 100")
    with pytest.raises(LogDamaged, match=r"1 of the events 0 to 255 are missing"):
        seal(conn, Signer.of(settings_of(dsn, key)))
    assert value(conn, "SELECT count(*) FROM pgaudit.tile") == 0


def test_the_mark_is_written_before_anything_is_signed(conn: psycopg.Connection, key: Path, dsn: str) -> None:
    """If it cannot be written, there is no checkpoint; if it is damaged, neither."""
    record_persist_and_commit(conn, *events(5))
    conn.autocommit = True
    signer = Signer.of(Settings(dsn=dsn, signing_key=str(key), signing_mark=key / "no" / "mark"))
    with pytest.raises(InvalidKey, match=r"cannot note what is signed, in .*mark: "):
        seal(conn, signer)
    assert check_of(conn, "sealing")[0] is Status.UNHEALTHY
    key.with_name("key.mark").write_text("claims\n5\n")
    with pytest.raises(InvalidKey, match=r"what was signed last"):
        seal(conn, Signer.of(settings_of(dsn, key)))
    assert value(conn, SIGNED) == 0


def test_two_signers_follow_each_other(conn: psycopg.Connection, key: Path, dsn: str, tmp_path: Path) -> None:
    """Two processes with the same key and marks of their own sign one log, and refuse another one."""
    record_persist_and_commit(conn, *events(5))
    conn.autocommit = True
    one = Signer.of(settings_of(dsn, key))
    assert one
    other = Signer(one.keys, HighWaterMark(tmp_path / "other.mark"))
    assert seal(conn, one) is not None
    record_persist_and_commit(conn, *events(5))
    assert seal(conn, other) is not None
    assert seal(conn, one) is None
    tamper(conn, "DELETE FROM pgaudit.audit_log WHERE index > 6", "DELETE FROM pgaudit.batch WHERE first_index > 0")
    tamper(conn, "TRUNCATE pgaudit.checkpoint")
    with pytest.raises(RolledBack):
        seal(conn, other)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(key: Path, dsn: str, mode: int) -> None:
    """The message says what to do."""
    key.chmod(mode)
    with pytest.raises(InvalidKey, match=rf"can be read by others: chmod 600 {key}"):
        Signer.of(settings_of(dsn, key))
