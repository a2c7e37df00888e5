"""What ``pgaudit.record`` adds to an event, and that each event reaches the queue."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.jobs import queued
from tests.support.queries import Connection
from tests.support.valid_events import record_raw, valid

SWALLOWERS = {
    "trigger": """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER aa_swallow BEFORE INSERT ON pgaudit.audit_jobs FOR EACH ROW EXECUTE FUNCTION swallow();
    """,
    "trigger for some": """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER aa_swallow BEFORE INSERT ON pgaudit.audit_jobs FOR EACH ROW
            WHEN (NEW.event->>'outcome' = 'denied') EXECUTE FUNCTION swallow();
    """,
    "rule": "CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING",
    "rule for some": """
        CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs WHERE NEW.event->>'outcome' = 'denied' DO INSTEAD NOTHING
    """,
}


@pytest.mark.parametrize("swallower", SWALLOWERS)
def test_a_suppressed_insert_is_an_error(database: str, swallower: str) -> None:
    """A trigger or rule that keeps a row out of the queue makes record raise."""
    # A session of its own, because Postgres caches the plan of a statement that a rule has suppressed.
    with psycopg.connect(database) as conn:
        conn.execute(SWALLOWERS[swallower])
        for events in ([valid(outcome="denied")], [valid(), valid(outcome="denied"), valid()]):
            with pytest.raises(psycopg.Error, match="trigger or rule") as refusal, conn.transaction():
                record_raw(conn, *events)
            assert refusal.value.sqlstate == "27000"
        assert queued(conn) == []
        conn.rollback()


@pytest.mark.parametrize("count", [1, 3])
def test_the_server_replaces_the_callers_stamps(scratch: Connection, count: int) -> None:
    """recorded_at, recorded_by and xid come from the server, whatever the caller sends."""
    forged = {"recorded_at": "1999-01-01T00:00:00Z", "recorded_by": {"role": "boss"}, "xid": 1}
    record_raw(scratch, *(valid(**forged) for _ in range(count)))
    truth = "SELECT session_user::text, pg_current_xact_id()::text, clock_timestamp()"
    user, xid, clock = scratch.execute(truth).fetchone() or ("", "", datetime.max.replace(tzinfo=UTC))
    stored = [job["event"] for job in queued(scratch)]
    assert len(stored) == count
    for event in stored:
        assert event["recorded_by"] == user
        assert event["xid"] == xid
        assert event["recorded_at"].endswith("Z")
        assert clock - timedelta(minutes=1) <= datetime.fromisoformat(event["recorded_at"]) <= clock


@pytest.mark.parametrize("count", [1, 3])
def test_recorded_by_is_the_role_that_logged_in(scratch: Connection, count: int) -> None:
    """recorded_by is the session's user, not a role of SET ROLE or the owner of the function."""
    scratch.execute("CREATE ROLE door_login; CREATE ROLE door_taken_on; GRANT door_taken_on TO door_login")
    scratch.execute("GRANT USAGE ON SCHEMA pgaudit TO door_taken_on")
    scratch.execute("GRANT EXECUTE ON FUNCTION pgaudit.record(jsonb) TO door_taken_on")
    scratch.execute("SET LOCAL SESSION AUTHORIZATION door_login")
    scratch.execute("SET LOCAL ROLE door_taken_on")
    record_raw(scratch, *(valid() for _ in range(count)))
    scratch.execute("RESET SESSION AUTHORIZATION")
    assert [job["event"]["recorded_by"] for job in queued(scratch)] == ["door_login"] * count


def test_recorded_by_is_not_the_owner_of_a_function(scratch: Connection) -> None:
    """A SECURITY DEFINER function of the application records in the name of its caller."""
    scratch.execute("CREATE ROLE door_login; CREATE ROLE door_owner; GRANT USAGE ON SCHEMA pgaudit TO door_owner")
    scratch.execute("GRANT EXECUTE ON FUNCTION pgaudit.record(jsonb) TO door_owner")
    scratch.execute("""
        CREATE FUNCTION approve(events jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER
            AS 'SELECT pgaudit.record(events)';
        CREATE FUNCTION approve_all(events jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER
            AS 'SELECT approve(events)';
        ALTER FUNCTION approve OWNER TO door_owner;
    """)
    scratch.execute("SET LOCAL SESSION AUTHORIZATION door_login")
    for function in ("approve", "approve_all"):
        scratch.execute(f"SELECT {function}(%s)", [json.dumps([valid()])])
    with pytest.raises(psycopg.errors.InsufficientPrivilege), scratch.transaction():
        record_raw(scratch, valid())
    scratch.execute("RESET SESSION AUTHORIZATION")
    assert [job["event"]["recorded_by"] for job in queued(scratch)] == ["door_login"] * 2
