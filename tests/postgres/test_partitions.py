"""Partitions: months ahead, and a default one, so that an insert never fails for want of one."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit import AuditEvent, Settings
from tests.postgres.trail import Connection, record_and_persist

PARTITION_OF = "SELECT event_id, tableoid::regclass::text FROM pgaudit.audit_log"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'pgaudit.audit_log'::regclass"


def at(moment: datetime) -> AuditEvent:
    """An event of that time."""
    return AuditEvent(action="claim.approved", occurred_at=moment)


def months(conn: Connection) -> set[str]:
    """The partitions there are."""
    return {name for (name,) in conn.execute(PARTITIONS).fetchall()}


def following(month: datetime) -> datetime:
    """The first day of the next month."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def name_of(month: datetime) -> str:
    """The partition of that month."""
    return f"pgaudit.audit_log_{month:%Y_%m}"


def test_an_event_is_in_the_partition_of_its_month(conn: Connection, settings: Settings) -> None:
    """By the time it occurred, in UTC; what is old or strange is in the default partition."""
    (now,) = conn.execute("SELECT now()").fetchone() or (datetime.now(UTC),)
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    placed = [
        (at(first), name_of(first)),
        (at(following(first) - timedelta(microseconds=1)), name_of(first)),
        (at(following(first)), name_of(following(first))),
        (at(datetime(1999, 12, 31, tzinfo=UTC)), "pgaudit.audit_log_default"),
        (at(datetime(9999, 12, 31, tzinfo=UTC)), "pgaudit.audit_log_default"),
        (at(datetime(1, 1, 1, tzinfo=UTC)), "pgaudit.audit_log_default"),
    ]
    conn.execute("SET timezone = 'Pacific/Kiritimati'")
    assert record_and_persist(conn, settings, *(each for each, _ in placed)) == []
    assert dict(conn.execute(PARTITION_OF).fetchall()) == {each.id: table for each, table in placed}


def test_keeping_partitions_twice_is_no_harm(conn: Connection) -> None:
    """The months there are stay, the missing ones are made, whatever the session's time zone."""
    before = months(conn)
    assert conn.execute("SELECT pgaudit.keep_partitions()").fetchone() == (0,)
    conn.execute("SET timezone = 'Pacific/Kiritimati'")
    assert conn.execute("SELECT pgaudit.keep_partitions(5)").fetchone() == (2,)
    assert conn.execute("SELECT pgaudit.keep_partitions(5)").fetchone() == (0,)
    assert len(months(conn) - before) == 2
    bounds = """SELECT count(*) FROM pg_class
                 WHERE relname ~ '^audit_log_20' AND pg_get_expr(relpartbound, oid) ~ '-01 00:00:00[+]00'"""
    conn.execute("SET timezone = 'UTC'")
    assert conn.execute(bounds).fetchone() == (6,)


def test_a_new_partition_has_every_index_of_the_log(conn: Connection) -> None:
    """ATTACH makes what is missing."""
    conn.execute("SELECT pgaudit.create_partition('2031-05-01')")
    query = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisvalid"
    counts = [conn.execute(query, [f"pgaudit.{name}"]).fetchone() for name in ("audit_log", "audit_log_2031_05")]
    assert counts == [(4,), (4,)]


def test_a_partition_made_by_hand_is_guarded_too(conn: Connection, settings: Settings) -> None:
    """Postgres clones no TRUNCATE trigger: who keeps partitions adds it; two years ahead are enough."""
    conn.execute("CREATE TABLE history PARTITION OF pgaudit.audit_log FOR VALUES FROM ('2019-05-01') TO ('2019-06-01')")
    assert record_and_persist(conn, settings, at(datetime(2019, 5, 5, tzinfo=UTC))) == []
    conn.execute("SELECT pgaudit.keep_partitions(1000)")
    conn.commit()
    assert len(months(conn)) == 1 + 1 + 25  # by hand, the default one, this month and two years
    for statement in ("TRUNCATE history", "DELETE FROM history"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            conn.execute(statement)
        conn.rollback()


def test_events_that_came_too_early_stay_in_the_default_partition(conn: Connection, settings: Settings) -> None:
    """Their month gets no partition then, which is a warning and no error; nothing is lost."""
    assert record_and_persist(conn, settings, at(datetime(2031, 5, 5, tzinfo=UTC))) == []
    warnings: list[str] = []
    conn.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    with conn.transaction():
        assert conn.execute("SELECT pgaudit.create_partition('2031-05-01')").fetchone() == (False,)
        assert conn.execute("SELECT pgaudit.create_partition('2031-06-01')").fetchone() == (True,)
    assert warnings == ["events of 2031-05 are in the default partition already and stay there"]
    assert "pgaudit.audit_log_2031_05" not in months(conn)
    assert record_and_persist(conn, settings, at(datetime(2031, 5, 6, tzinfo=UTC))) == []
    rows = conn.execute("SELECT tableoid::regclass::text FROM pgaudit.audit_log").fetchall()
    assert rows == [("pgaudit.audit_log_default",)] * 2
