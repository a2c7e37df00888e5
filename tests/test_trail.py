"""Reading the log."""

from decimal import Decimal

from pgaudit import trail
from tests.support.events import event
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.queries import Connection

HUGE = """
    INSERT INTO pgaudit.audit_jobs (event, leaf_hash, event_bytes)
    SELECT event, pgaudit.leaf_hash(event), octet_length(event::text)
      FROM (VALUES ('{"id": "01890000-0000-7000-8000-000000000000", "action": "claim.approved", "outcome": "success",
                      "occurred_at": "2026-01-01T00:00:00Z", "recorded_at": "2026-01-01T00:00:00Z",
                      "data": {"amount": 1e5000}}'::jsonb)) AS made (event)
"""


def test_a_number_too_long_for_an_integer_is_read(conn: Connection) -> None:
    """A number that Python cannot read as an integer, inserted by the owner, is read as a Decimal."""
    conn.execute(HUGE)
    assert persist_and_commit(conn) == []
    (entry,) = trail.after(conn, -1)
    assert entry.event["data"]["amount"] == Decimal("1e5000")


def test_an_id_may_be_a_number(conn: Connection) -> None:
    """The id may be given as a number, such as a primary key, instead of a string."""
    assert record_persist_and_commit(conn, made := event(7), event(8)) == []
    assert [entry.event_id for entry in trail.of_target(conn, "claim", 7)] == [made.id]
    assert len(trail.of_actor(conn, "user", 42)) == 2
