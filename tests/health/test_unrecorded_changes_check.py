"""The health check of changes that a guard has let pass without an event."""

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings, health
from pgaudit.grants import grant
from pgaudit.health import Check, Status
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.tampering import tamper

TABLES = """
    CREATE TABLE payments (id bigint PRIMARY KEY);
    CREATE TABLE refunds (id bigint PRIMARY KEY);
    SELECT pgaudit.add_guard('payments', 'payment', '{id}', 'warn');
    SELECT pgaudit.add_guard('refunds', 'refund', '{id}', 'warn');
"""


def unrecorded(conn: Connection) -> Check:
    """Returns the check."""
    (check,) = [check for check in health.check(conn).checks if check.name == "unrecorded_changes"]
    return check


def test_tables_and_rows_are_named_with_a_remedy(conn: Connection) -> None:
    """Changes with an event are healthy, those without are degraded for a day."""
    conn.execute(TABLES)
    conn.execute("INSERT INTO payments VALUES (1)")
    AuditLog(Settings()).record(conn, AuditEvent(action="payment.sent", target="payment:1"))
    conn.commit()
    assert (unrecorded(conn).status, unrecorded(conn).observed) == (Status.HEALTHY, 0)
    conn.execute("INSERT INTO payments SELECT n FROM generate_series(2, 1501) n")
    conn.execute("INSERT INTO refunds VALUES (1)")
    conn.commit()
    check = unrecorded(conn)
    assert (check.status, check.observed) == (Status.DEGRADED, 1_501)
    assert check.message == (
        "1,501 row(s) of payments, refunds changed without an event in the last day: `pgaudit coverage` names them; "
        "record an event in the same transaction, or capture the table."
    )
    tamper(conn, "UPDATE pgaudit.unrecorded_change SET found_at = found_at - interval '25 h'")
    assert unrecorded(conn).status is Status.HEALTHY


def test_a_worker_sees_it(conn: Connection) -> None:
    """A worker serves the health check of its container."""
    conn.execute(TABLES)
    conn.execute("INSERT INTO payments VALUES (1)")
    conn.commit()
    with temporary_roles(conn.info.dsn, "t_unrecorded"):
        grant(conn, worker="t_unrecorded")
        conn.commit()
        with psycopg.connect(conn.info.dsn, user="t_unrecorded") as worker:
            assert unrecorded(worker).observed == 1
