"""The cost of a batch does not depend on the number of partitions."""

from typing import Any

from pgaudit import AuditEvent
from tests.support.events import event
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.partitions import ranges
from tests.support.queries import Connection

LOCKS = """SELECT relation::regclass::text FROM pg_locks
            WHERE locktype = 'relation' AND pid = pg_backend_pid() AND mode <> 'AccessShareLock' OR
                  locktype = 'relation' AND pid = pg_backend_pid() AND relation::regclass::text LIKE '%audit_log%'"""


WORK = "EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) "
PERSIST = "SELECT * FROM pgaudit.persist(NULL, NULL, 1000)"


def commit_and_measure(conn: Connection, *recorded: AuditEvent) -> tuple[dict[str, int], set[str]]:
    """Returns the work of persisting the events, and the tables and indexes of the log that it locks; commits."""
    record_and_commit(conn, *recorded)
    ((plans,),) = conn.execute(WORK + PERSIST).fetchall()
    locked = {name for (name,) in conn.execute(LOCKS).fetchall()}
    conn.commit()
    plan: dict[str, Any] = plans[0]["Plan"]
    read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + plan["Shared Dirtied Blocks"]
    return {"pages": read, "records": plan["WAL Records"]}, locked


def commit_and_measure_kinds(conn: Connection, original: AuditEvent) -> dict[str, Any]:
    """Returns the work for one event that is new, known or in conflict, in a session with cached plans; commits."""
    other = original.model_copy(update={"reason": "other"})
    for _ in range(7):
        for each in (event(), original, other.model_copy(update={"reason": "warm"})):
            assert record_persist_and_commit(conn, each) == []
    return {
        "new": commit_and_measure(conn, event()),
        "known": commit_and_measure(conn, original),
        "in conflict": commit_and_measure(conn, other),
        "in conflict again": commit_and_measure(conn, other),
    }


def test_a_batch_costs_the_same_whatever_the_number_of_partitions(small: Connection) -> None:
    """Locks and WAL are the same with two partitions and with two hundred, and the pages differ by at most ten."""
    original = event()
    assert record_persist_and_commit(small, original) == []
    few = commit_and_measure_kinds(small, original)
    for first in range(512, 200 * 256, 256):
        small.execute("SELECT pgaudit.create_partition(%s)", [first])
    small.commit()
    assert len(ranges(small)) == 200
    many = commit_and_measure_kinds(small, event_of(small, 1))
    assert {kind: locks for kind, (_, locks) in many.items()} == {kind: locks for kind, (_, locks) in few.items()}
    for kind, (work, _) in many.items():
        assert work["records"] <= few[kind][0]["records"] + 5, kind
        assert work["pages"] <= few[kind][0]["pages"] + 10, kind


def event_of(conn: Connection, index: int) -> AuditEvent:
    """Returns the event with that index as it was recorded."""
    (content,) = conn.execute("SELECT event FROM pgaudit.audit_log WHERE index = %s", [index]).fetchone() or ({},)
    return AuditEvent.model_validate({key: content[key] for key in content if key in AuditEvent.model_fields})
