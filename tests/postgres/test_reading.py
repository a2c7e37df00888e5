"""Reading the log: what an event made by hand may hold is no reason to stop."""

from decimal import Decimal

from pgaudit import trail
from tests.postgres.trail import Connection, persist

HUGE = """
    SELECT pgaudit.record('[{"id": "01890000-0000-7000-8000-000000000000", "action": "claim.approved",
                             "occurred_at": "2026-01-01T00:00:00Z", "outcome": "success", "data": {"amount": 1e5000}}]')
"""


def test_a_number_too_long_for_an_integer_is_read(conn: Connection) -> None:
    """Python refuses to make an int of it; whoever pages through the log goes on."""
    conn.execute(HUGE)
    assert persist(conn) == []
    (entry,) = trail.after(conn, -1)
    assert entry.event["data"]["amount"] == Decimal("1e5000")
