"""Older copies of the database, while the process that signs lives: nothing of them is signed, and all else goes on."""

from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import grants, health
from pgaudit.health import Status
from pgaudit.sealing.keys import create, new_keys
from pgaudit.testing.server import TemporaryServer
from tests.support.command_line import run_anew
from tests.support.events import events
from tests.support.jobs import queue_events, record_persist_and_commit
from tests.support.processes import worker_process
from tests.support.queries import LOG_SIZE, value_in
from tests.support.roles import temporary_roles
from tests.support.standby import Standby
from tests.support.tampering import tamper
from tests.support.waiting import wait_until

SIGNED = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
POSITION = "SELECT pg_current_wal_insert_lsn()::text"
IN_RECOVERY = "SELECT pg_is_in_recovery()"
OTHER_LOG = "the first 10 events of the log are not those that were signed"


@pytest.fixture
def signing(tmp_path: Path) -> dict[str, Any]:
    """The environment of a worker that signs often."""
    create(tmp_path / "key", new_keys("audit.example.com/claims"))
    often = {"PGAUDIT_CHECKPOINT_INTERVAL": "0.2", "PGAUDIT_HEARTBEAT_EVENTS": "0", "PGAUDIT_VERIFY_INTERVAL": "0"}
    return {"PGAUDIT_SIGNING_KEY": str(tmp_path / "key"), **often}


def reaches(dsn: str, query: str, count: int) -> None:
    """Waits until a query has a value."""
    wait_until(f"{count} of {query}", lambda: value_in(dsn, query) == count, seconds=90)


def sealing(dsn: str) -> tuple[Status, str]:
    """What health says about the checkpoints."""
    with psycopg.connect(dsn) as conn:
        (check,) = (check for check in health.check(conn).checks if check.name == "sealing")
    return check.status, check.message


def is_refused(dsn: str, why: str) -> bool:
    """Whether health says why nothing is signed."""
    status, message = sealing(dsn)
    return status is Status.UNHEALTHY and why in message


def check_that_nothing_is_signed(dsn: str, has: int) -> None:
    """Checks an older copy, of a log of which 10 events were signed. Recording and persisting go on."""
    older = "has {} events, and a checkpoint of 10 was signed: an older copy of the database is in use"
    wait_until("health says so", partial(is_refused, dsn, older.format(has)), seconds=90)
    for more, why in ((1, older.format(has + 1)), (9, OTHER_LOG)):
        before = value_in(dsn, LOG_SIZE)
        queue_events(dsn, more)
        reaches(dsn, LOG_SIZE, before + more)
        wait_until("health says so", partial(is_refused, dsn, why), seconds=90)
    assert value_in(dsn, SIGNED) == 5


def test_a_lagging_standby_that_is_promoted(
    primary: TemporaryServer, standby: Standby, signing: dict[str, Any], tmp_path: Path
) -> None:
    """The worker follows it, as libpq does with the names of both servers; it says once why it does not sign."""
    hosts = {"host": f"{primary.home},{standby.home}", "port": "5432,5432", "target_session_attrs": "read-write"}
    said = tmp_path / "worker.log"
    with said.open("wb") as log, worker_process(make_conninfo(primary.conninfo, **hosts), log=log.fileno(), **signing):
        queue_events(primary.conninfo, 5)
        reaches(primary.conninfo, SIGNED, 5)
        reaches(standby.conninfo, SIGNED, 5)
        standby.halt()
        queue_events(primary.conninfo, 5)
        reaches(primary.conninfo, SIGNED, 10)
        primary.halt("immediate")
        standby.start()
        standby.promote()
        check_that_nothing_is_signed(standby.conninfo, 5)
    assert said.read_text().count("the log is not sealed: the log has 5 events") == 1
    assert said.read_text().count("the log is not sealed") == 1


@pytest.mark.parametrize("has", [5, 7], ids=["a backup", "point-in-time recovery"])
def test_a_restored_backup(primary: TemporaryServer, standby: Standby, signing: dict[str, Any], has: int) -> None:
    """With the file for what was signed last, which no restore takes back, the restored log is refused."""
    with worker_process(primary.conninfo, **signing):
        queue_events(primary.conninfo, 5)
        reaches(primary.conninfo, SIGNED, 5)
        reaches(standby.conninfo, SIGNED, 5)
    standby.halt()
    with psycopg.connect(primary.conninfo) as conn:
        record_persist_and_commit(conn, *events(2))
        position = "immediate" if has == 5 else value_in(primary.conninfo, POSITION)
        record_persist_and_commit(conn, *events(3))
    with worker_process(primary.conninfo, **signing):
        reaches(primary.conninfo, SIGNED, 10)
    standby.recover_to(position)
    wait_until("it is recovered", lambda: not value_in(standby.conninfo, IN_RECOVERY), seconds=90)
    assert value_in(standby.conninfo, LOG_SIZE) == has
    with worker_process(standby.conninfo, **signing):
        check_that_nothing_is_signed(standby.conninfo, has)


def test_a_reader_verifies_on_a_standby(primary: TemporaryServer, standby: Standby, signing: dict[str, Any]) -> None:
    """Where nothing can be written, and with no other right than reading; what a superuser altered is found there."""
    with worker_process(primary.conninfo, **signing):
        queue_events(primary.conninfo, 300)
        reaches(primary.conninfo, SIGNED, 300)
    with temporary_roles(primary.conninfo, "r_reader"), psycopg.connect(primary.conninfo, autocommit=True) as conn:
        grants.grant(conn, reader="r_reader")
        position = value_in(primary.conninfo, POSITION)
        replayed = f"SELECT (pg_last_wal_replay_lsn() >= '{position}')::int"
        reaches(standby.conninfo, replayed, 1)
        vkey = Path(f"{signing['PGAUDIT_SIGNING_KEY']}.pub").read_text().splitlines()[1]
        reader = make_conninfo(standby.conninfo, user="r_reader")
        clean = run_anew("verify", "--vkey", vkey, PGAUDIT_DSN=reader)
        assert (clean.returncode, "Assurance: signed." in clean.stdout) == (0, True), clean.stdout + clean.stderr
        tamper(conn, 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7')
        altered = "SELECT count(*)::int FROM pgaudit.audit_log WHERE index = 7 AND event ? 'reason'"
        reaches(standby.conninfo, altered, 1)
        caught = run_anew("verify", "--vkey", vkey, PGAUDIT_DSN=reader)
        assert (caught.returncode, caught.stdout.partition(":")[0]) == (1, "altered"), caught.stdout + caught.stderr
