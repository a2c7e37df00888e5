"""Nothing but a new event of the application satisfies a guard, whatever its role tries."""

import json
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit.testing import run_worker_once
from tests.guard.database.guarding import UPDATE, paid, record, refused, statuses
from tests.support.queries import Connection


def nothing(conn: Connection) -> None:
    """Does nothing."""
    assert conn


def other_target(conn: Connection) -> None:
    """Records an event for another claim, and one for another type with the same id."""
    record(conn, paid("claim:8"), paid("policy:7"), paid("claim:70"))


def other_outcome(conn: Connection) -> None:
    """Records that the change has failed, or was denied."""
    record(conn, paid(outcome="failure"), paid(outcome="denied"))


def rolled_back_event(conn: Connection) -> None:
    """Rolls the event back, and keeps the change."""
    with conn.transaction(force_rollback=True):
        record(conn, paid())


def forged_settings(conn: Connection) -> None:
    """Sets every setting that pgaudit uses."""
    for name in ("first_job", "first_index", "context", "caught_calls"):
        conn.execute("SELECT set_config(%s, '0', true)", [f"audit.{name}"])


def unusable_hints(conn: Connection) -> None:
    """Makes the guard look for events where there are none."""
    record(conn, paid("claim:8"))
    conn.execute("SET LOCAL audit.first_job = '9223372036854775808'; SET LOCAL audit.first_index = 'x'")


def immediate(conn: Connection) -> None:
    """Asks for the check now, as a constraint can be."""
    with pytest.raises(psycopg.Error, match="without an audit event"):
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.rollback()
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    conn.execute(UPDATE)


def later_trigger(conn: Connection) -> None:
    """Changes the row again, in a deferred trigger that fires after the guard's check."""
    conn.execute("""
        CREATE TABLE zz_later (x int);
        CREATE FUNCTION zz_change() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE claims SET note = 'later' WHERE id = 8; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER zz_change AFTER INSERT ON zz_later DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION zz_change()
    """)
    record(conn, paid())
    conn.execute("INSERT INTO zz_later VALUES (1)")


def invalid_event(conn: Connection) -> None:
    """Records what could never be appended."""
    event = json.loads(paid().to_json()) | {"outcome": None}
    with pytest.raises(psycopg.Error, match="outcome"), conn.transaction():
        conn.execute("SELECT pgaudit.record(%s)", [json.dumps([event])])


def captured_event(conn: Connection) -> None:
    """Imitates a captured event."""
    event = json.loads(paid().to_json()) | {"context": {"source": "database"}}
    with pytest.raises(psycopg.Error, match="reserved"), conn.transaction():
        conn.execute("SELECT pgaudit.record(%s)", [json.dumps([event])])


def direct_write(conn: Connection) -> None:
    """Removes what the guard has noted."""
    for statement in ("DELETE FROM pgaudit.guarded_change", "INSERT INTO pgaudit.audit_jobs (event) VALUES ('{}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


def disable(conn: Connection) -> None:
    """Disables the guard in each way that SQL has."""
    for statement in (
        'ALTER TABLE claims DISABLE TRIGGER "0_pgaudit_guard_update"',
        "ALTER TABLE claims DISABLE TRIGGER ALL",
        "ALTER TABLE pgaudit.guarded_change DISABLE TRIGGER ALL",
        'DROP TRIGGER "0_pgaudit_guard_update" ON claims',
        "SET session_replication_role = replica",
        "SELECT pgaudit.pause_guard('claims', true)",
        "CREATE OR REPLACE FUNCTION pgaudit.guard_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


def other_schema(conn: Connection) -> None:
    """Puts tables and functions with the same names on its search_path."""
    conn.execute("""
        CREATE TEMP TABLE guarded_change (
            xid xid8, number bigint, guard int, operation text, keys text[], new_keys text[], events text[]);
        CREATE TEMP TABLE audit_jobs (id bigint, event jsonb); SET LOCAL search_path = pg_temp, public
    """)
    conn.execute("INSERT INTO audit_jobs VALUES (1, %s)", [f"[{paid().to_json()}]"])


@pytest.mark.parametrize(
    "attempt",
    [
        nothing,
        other_target,
        other_outcome,
        rolled_back_event,
        forged_settings,
        unusable_hints,
        immediate,
        later_trigger,
        invalid_event,
        captured_event,
        direct_write,
        disable,
        other_schema,
    ],
)
def test_nothing_else_satisfies_the_guard(
    guarded: Connection, owner: Connection, attempt: Callable[[Connection], None]
) -> None:
    """Whatever the application's role does instead of recording an event for that row."""
    guarded.execute(UPDATE)
    attempt(guarded)
    refused(guarded)
    assert statuses(owner) == ["open", "open"]


@pytest.mark.parametrize("place", ["queue", "log", "this transaction"])
def test_an_old_event_recorded_again_does_not_count(guarded: Connection, owner: Connection, place: str) -> None:
    """Whether it still waits in the queue, or is in the log; nor does a second event of one id."""
    old = paid()
    record(guarded, old if place != "this transaction" else paid("claim:8"))
    guarded.commit()
    if place == "log":
        run_worker_once(owner)
    guarded.execute("UPDATE claims SET status = 'paid'" if place == "this transaction" else UPDATE)
    if place == "this transaction":
        record(guarded, paid("claim:8", id=old.id))
    record(guarded, old)
    refused(guarded, "claim:7 updated")


def test_a_captured_event_does_not_satisfy_a_guard(guarded: Connection, owner: Connection) -> None:
    """The guard asks for the application's own event, even where a trigger has recorded what has changed."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    guarded.execute(UPDATE)
    refused(guarded)


def test_captured_events_and_those_of_other_transactions_do_not_count(
    guarded: Connection, owner: Connection, owned: str
) -> None:
    """The transaction has recorded something: the search for its events finds these, too."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    record(guarded, paid("claim:8"))
    with psycopg.connect(make_conninfo(owned, user="claims_app")) as other:
        record(other, paid())
    guarded.execute("UPDATE claims SET status = 'paid'")
    refused(guarded, "claim:7 updated")
