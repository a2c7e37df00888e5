"""column_drift names each column that an owner has altered, whatever the altered event holds."""

import pytest

from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection

DRIFT = "SELECT index, column_name FROM pgaudit.column_drift() ORDER BY 1, 2"
COLUMNS = """
    SELECT attname::text FROM pg_attribute
     WHERE attrelid = 'pgaudit.audit_log'::regclass AND attnum > 0 AND NOT attisdropped
"""
ALTERED = {
    "event_id": "gen_random_uuid()",
    "occurred_at": "occurred_at - interval '1 microsecond'",
    "recorded_at": "recorded_at + interval '1 day'",
    "action": "'claim.denied'",
    "outcome": "'denied'",
    "actor_type": "'robot'",
    "actor_id": "NULL",
    "target_type": "'policy'",
    "target_id": "'8'",
    "tenant": "'other'",
    "leaf_hash": "sha256('forged')",
}
# In no event: the position in the log, the time of the append, and the event itself, whose hash is compared.
NOT_COMPARED = {"index", "persisted_at", "conflicts_with", "event"}


@pytest.fixture
def altered(conn: Connection) -> Connection:
    """A log of three events, whose guard the owner has disabled."""
    assert record_persist_and_commit(conn, *events(3)) == []
    conn.execute("ALTER TABLE pgaudit.audit_log DISABLE TRIGGER append_only")
    assert conn.execute(DRIFT).fetchall() == []
    return conn


@pytest.mark.parametrize("column", ALTERED)
def test_an_altered_column_is_named(altered: Connection, column: str) -> None:
    """column_drift returns the index and name of the altered column, and no other row."""
    altered.execute(f"UPDATE pgaudit.audit_log SET {column} = {ALTERED[column]} WHERE index = 1")
    assert altered.execute(DRIFT).fetchall() == [(1, column)]


def test_every_column_of_an_event_is_compared(conn: Connection) -> None:
    """Each column of the log is either compared or listed in NOT_COMPARED, so a new one is not forgotten."""
    assert {name for (name,) in conn.execute(COLUMNS).fetchall()} == ALTERED.keys() | NOT_COMPARED


@pytest.mark.parametrize(
    ("edit", "column"),
    [
        ("jsonb_set(event, '{data}', '{\"amount\": \"1\"}')", None),
        ("jsonb_set(event, '{id}', '\"no uuid\"')", "event_id"),
        ("jsonb_set(event, '{occurred_at}', '\"yesterday at noon\"')", "occurred_at"),
        ("event - 'recorded_at'", "recorded_at"),
        ("'[]'", "action"),
    ],
)
def test_an_altered_event_is_named_whatever_it_holds(altered: Connection, edit: str, column: str | None) -> None:
    """An altered event is reported, even if its values cannot be cast, and so are events behind it."""
    altered.execute(f"UPDATE pgaudit.audit_log SET event = {edit} WHERE index = 0")
    altered.execute("UPDATE pgaudit.audit_log SET outcome = 'denied' WHERE index = 2")
    found = altered.execute(DRIFT).fetchall()
    assert {(0, "leaf_hash"), (0, column or "leaf_hash"), (2, "outcome")} <= set(found)
