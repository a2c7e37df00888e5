"""Attacks that no tree can find, because the event was never in the log or belongs there: receipts tell.

More of them, on the queue, are in test_reconcile.py: 19 and 21, deleted jobs; 20, an edited job with a new hash.
"""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg.errors import TriggeredDataChangeViolation

from pgaudit.sealing.reconcile import comparing
from tests.sealing.attacks.changes import appended
from tests.sealing.reconcile.conftest import Audited
from tests.support.events import event
from tests.support.queries import Connection, value
from tests.support.tampering import tamper

PERSIST = "SELECT pgaudit.persist(NULL, NULL, 1000)"
SWALLOW = [
    "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER swallow BEFORE INSERT ON pgaudit.audit_jobs FOR EACH ROW EXECUTE FUNCTION swallow()",
]
RULE = ["CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING"]


@pytest.fixture
def conn(audited: Audited) -> Iterator[Connection]:
    """A connection of a superuser in autocommit."""
    with psycopg.connect(audited.dsn, autocommit=True) as conn:
        yield conn


def record(audited: Audited, conn: Connection, number: int) -> None:
    """Records an event in a transaction."""
    with conn.transaction():
        audited.record(conn, event(number))


@pytest.mark.parametrize("attack", [SWALLOW, RULE], ids=["17 a trigger", "18 a rule"])
def test_no_event_is_kept_out_of_the_queue(audited: Audited, conn: Connection, attack: list[str]) -> None:
    """The business transaction fails instead."""
    for statement in attack:
        conn.execute(statement)
    with pytest.raises(TriggeredDataChangeViolation, match=r"on pgaudit\.audit_jobs left 1 of 1 events out"):
        record(audited, conn, 1)


def test_an_event_that_is_kept_out_by_a_changed_function_has_its_receipt(audited: Audited, conn: Connection) -> None:
    """17: with a trigger, and a function that does not count what it has inserted, both gone afterwards."""
    sound = value(conn, "SELECT pg_get_functiondef('pgaudit.record'::regproc)")
    for statement in (*SWALLOW, sound.replace("IF inserted <> expected", "IF false")):
        conn.execute(statement)
    record(audited, conn, 1)
    for statement in ("DROP FUNCTION swallow CASCADE", sound):
        conn.execute(statement)
    assert [finding.kind for finding in audited.reconcile().findings] == ["lost"]


def test_a_row_that_was_appended_as_a_worker_does(
    audited: Audited, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25: a row and a batch at the end of the log, which verify like any other, have no receipt."""
    monkeypatch.setattr(comparing, "MARGIN", timedelta(0))
    for number in range(2):
        record(audited, conn, number)
    conn.execute(PERSIST)
    tamper(conn, *appended(2))
    record(audited, conn, 3)
    conn.execute(PERSIST)
    report = audited.reconcile(every=True)
    assert [finding.kind for finding in report.findings] == ["unreceipted"]
    assert (report.unreceipted, report.is_reconciled) == (1, False)
