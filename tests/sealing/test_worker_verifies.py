"""What a worker verifies: what is new every time, all of the log from time to time, and what it keeps of the result."""

from pathlib import Path
from threading import Event

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import Settings, grants, signals
from pgaudit.sealing.keys import create, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.worker.sealing import anchor_once
from pgaudit.worker.verification import Stopped, Turn, verify_once
from tests.support.audit_log import make_small_partitions_and_commit
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value
from tests.support.roles import temporary_roles
from tests.support.tampering import tamper

LAST = "SELECT first_index, end_index, whole, level, findings FROM pgaudit.verification ORDER BY id DESC LIMIT 1"
FORGE = 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7'
RESTORE = "UPDATE pgaudit.audit_log SET event = event - 'reason' WHERE index = 7"
AGE = "UPDATE pgaudit.verification SET verified_at = verified_at - interval '8 days'"
STANDING = "SELECT found->0->>'message' FROM pgaudit.sealing_stats"
CLEAN = "SELECT pgaudit.note_verification(512, 600, false, 'signed', 0, '[]')"


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """Settings of a worker that verifies each time that it is asked to, and anchors in a directory."""
    create(tmp_path / "key", new_keys("audit.example.com/claims"))
    (tmp_path / "anchors").mkdir()
    return Settings(
        dsn=dsn, signing_key=str(tmp_path / "key"), verify_interval=1e-6, anchors=f"file:{tmp_path / 'anchors'}"
    )


@pytest.fixture
def sealed(conn: psycopg.Connection, settings: Settings) -> psycopg.Connection:
    """A connection, in autocommit, to a log of 600 events that is signed and anchored."""
    grow(conn, settings, 600)
    anchor_once(settings)
    return conn


def grow(conn: psycopg.Connection, settings: Settings, count: int) -> None:
    """Appends events, and signs them."""
    conn.autocommit = False
    record_persist_and_commit(conn, *events(count))
    conn.autocommit = True
    assert seal(conn, Signer.of(settings)) is not None


def verified(conn: psycopg.Connection, settings: Settings) -> tuple[int, int, bool, str | None, int]:
    """Verifies. Returns what was noted: the range, whether it is the whole log, the level, and the findings."""
    verify_once(settings)
    (row,) = conn.execute(LAST).fetchall()
    return row


def test_all_of_the_log_is_verified_first_and_again_each_week(sealed: psycopg.Connection, settings: Settings) -> None:
    """With the anchors; in between, what is new. Then the age is that of the whole verification."""
    assert verified(sealed, settings) == (0, 600, True, "anchored", 0)
    grow(sealed, settings, 10)
    assert verified(sealed, settings) == (512, 610, False, "signed", 0)
    told = "fully_verified_first, fully_verified_end, level, verified_end"
    assert sealed.execute(f"SELECT {told} FROM pgaudit.sealing_stats").fetchall() == [(0, 600, "anchored", 610)]
    tamper(sealed, AGE)
    assert verified(sealed, settings) == (0, 610, True, "anchored", 0)
    tamper(sealed, AGE)
    seldom = settings.model_copy(update={"full_verify_interval": 0})
    assert verified(sealed, seldom) == (512, 610, False, "signed", 0)


def test_a_log_is_verified_as_a_whole_again_once_it_is_signed(conn: psycopg.Connection, settings: Settings) -> None:
    """Otherwise the level would be that of the log before it had a key, for a week."""
    record_persist_and_commit(conn, *events(600))
    conn.autocommit = True
    seal(conn, None)
    assert verified(conn, settings) == (0, 600, True, "sealed", 0)
    assert verified(conn, settings) == (512, 600, False, "sealed", 0)
    assert seal(conn, Signer.of(settings)) is not None
    assert verified(conn, settings) == (0, 600, True, "signed", 0)
    assert verified(conn, settings) == (512, 600, False, "signed", 0)


def test_an_old_event_that_was_altered_is_found_and_not_forgotten(
    sealed: psycopg.Connection, settings: Settings
) -> None:
    """What is new verifies, but the finding stands until the event itself does; nothing is signed meanwhile."""
    told: list[str] = []
    verify_once(settings)
    tamper(sealed, FORGE)
    assert verified(sealed, settings) == (512, 600, False, "signed", 0)
    tamper(sealed, AGE)
    with signals.verification_failed.connected_to(lambda _name, finding, **_details: told.append(finding)):
        assert verified(sealed, settings) == (0, 600, True, None, 1)
    assert told == ["altered"]
    sealed.execute(CLEAN)
    assert value(sealed, STANDING) == "event 7 was altered: its content is not what was sealed"
    assert verified(sealed, settings) == (0, 600, True, None, 1)
    tamper(sealed, RESTORE)
    assert verified(sealed, settings) == (0, 600, True, "anchored", 0)
    assert value(sealed, STANDING) is None


def test_the_findings_are_kept_with_event_and_index(sealed: psycopg.Connection, settings: Settings) -> None:
    """Twenty at most, their messages cut; all are counted."""
    tamper(sealed, FORGE.replace("= 7", "< 30"))
    assert verified(sealed, settings)[-1] == 30
    found = value(sealed, "SELECT found FROM pgaudit.sealing_stats")
    assert len(found) == 20
    event_id = value(sealed, "SELECT event_id::text FROM pgaudit.audit_log WHERE index = 3")
    message = "event 3 was altered: its content is not what was sealed"
    assert found[3] == {"name": "altered", "message": message, "index": 3, "event_id": event_id}


def test_a_detached_partition_is_no_finding(conn: psycopg.Connection, settings: Settings) -> None:
    """All that the log still has is verified; where that begins is told. What failed before is settled."""
    make_small_partitions_and_commit(conn)
    grow(conn, settings, 600)
    tamper(conn, FORGE)
    assert verified(conn, settings)[2:] == (True, None, 1)
    conn.execute("ALTER TABLE pgaudit.audit_log DETACH PARTITION pgaudit.audit_log_0 CONCURRENTLY")
    conn.execute("ALTER TABLE pgaudit.audit_log_0 SET SCHEMA public")
    assert verified(conn, settings) == (256, 600, True, "signed", 0)
    assert value(conn, STANDING) is None
    assert value(conn, "SELECT fully_verified_first FROM pgaudit.sealing_stats") == 256


def test_a_log_that_its_anchor_does_not_have_fails(
    sealed: psycopg.Connection, settings: Settings, tmp_path: Path
) -> None:
    """Cut with its tiles and checkpoints, it is rolled back; an anchor that cannot be read proves nothing."""
    assert verified(sealed, settings)[3] == "anchored"
    tamper(sealed, AGE)
    unread = settings.model_copy(update={"anchors": Settings(anchors=f"file:{tmp_path / 'gone'}").anchors})
    assert verified(sealed, unread) == (0, 600, True, "signed", 0)
    tamper(sealed, AGE)
    rows = ("audit_log WHERE index > 499", "batch", "checkpoint", "tile WHERE number > 0")
    tamper(sealed, *(f"DELETE FROM pgaudit.{these}" for these in rows))
    assert verified(sealed, settings)[2:4] == (True, None)
    assert "has a checkpoint of 600" in str(value(sealed, "SELECT found FROM pgaudit.sealing_stats"))


def test_a_worker_verifies_with_its_rights_alone(sealed: psycopg.Connection, settings: Settings) -> None:
    """With those that `pgaudit grant --worker` gives."""
    with temporary_roles(settings.conninfo, "verifying_worker"):
        grants.grant(sealed, worker="verifying_worker")
        worker = settings.model_copy(update={"dsn": make_conninfo(settings.conninfo, user="verifying_worker")})
        assert verified(sealed, worker) == (0, 600, True, "anchored", 0)


def test_a_worker_that_stops_ends_its_verification(sealed: psycopg.Connection, settings: Settings) -> None:
    """It does not keep the process for hours, and notes nothing."""
    stopped = Event()
    stopped.set()
    verify_once(settings, stopped)
    assert sealed.execute(LAST).fetchall() == []


def test_a_long_verification_keeps_others_away(sealed: psycopg.Connection, settings: Settings) -> None:
    """As long as it goes on, no other worker begins one."""
    hourly = settings.model_copy(update={"verify_interval": 3_600.0})
    turn = Turn(sealed, 1e-6, Event())
    tamper(sealed, "UPDATE pgaudit.sealing_state SET verifying_at = now() - interval '2 hours'")
    turn.keep(16_384, 1_000_000)
    verify_once(hourly)
    assert sealed.execute(LAST).fetchall() == []
    stopped = Event()
    stopped.set()
    with pytest.raises(Stopped):
        Turn(sealed, 3_600, stopped).keep(0, 1)
