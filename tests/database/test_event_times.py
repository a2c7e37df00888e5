"""The times in an event affect neither its partition nor which partitions must exist."""

import psycopg

from pgaudit.grants import grant
from tests.support.audit_log import assert_dense
from tests.support.jobs import persist_and_commit
from tests.support.partitions import ensure_partitions_and_commit, ranges
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.valid_events import record_raw, valid

EXTREMES = ["0001-01-02T00:00:00Z", "1969-12-31T23:59:59+14:00", "9999-12-30T23:59:59.999999Z"]


def test_events_dated_ahead_and_back_take_the_next_indexes(dsn: str, small: Connection) -> None:
    """Events dated far ahead, or with the first and last possible times, are appended at the next indexes."""
    months = [f"{year}-{month:02}-15T12:00:00Z" for year in range(2027, 2037) for month in range(1, 13)]
    before = ranges(small)
    with temporary_roles(dsn, "t_dating"), psycopg.connect(dsn, user="t_dating") as writer:
        grant(small, writer="t_dating")
        small.commit()
        record_raw(writer, *(valid(occurred_at=time) for time in months + EXTREMES))
    assert persist_and_commit(small) == []
    assert ranges(small) == before
    stored = small.execute("SELECT index, event->>'occurred_at' FROM pgaudit.audit_log ORDER BY index").fetchall()
    assert stored == list(enumerate(months + EXTREMES))
    record_raw(small, *(valid() for _ in range(256)))
    small.commit()
    assert persist_and_commit(small) == []
    assert ensure_partitions_and_commit(small) == 1
    assert ranges(small) == [*before, (512, 768)]
    assert_dense(small)
