"""Recording that somebody has read the log: a reader can do it, and record nothing else."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pgaudit import AuditEvent, InvalidEvent, bind
from pgaudit.access_log import EXPORT_STARTED, EXPORTED, VIEWED, record_access
from pgaudit.grants import grant
from tests.support.jobs import queued, queued_events_in
from tests.support.queries import Connection, value
from tests.support.roles import temporary_roles

HASH = "SELECT encode(pgaudit.leaf_hash(event), 'hex') FROM pgaudit.audit_jobs"


@pytest.fixture
def reader(dsn: str) -> Iterator[Connection]:
    """A connection of a reader, in autocommit."""
    with temporary_roles(dsn, "t_access_reader"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_access_reader")
        with psycopg.connect(dsn, user="t_access_reader", autocommit=True) as conn:
            yield conn


@pytest.mark.parametrize("action", [EXPORT_STARTED, EXPORTED, VIEWED])
def test_a_reader_records_that_it_has_read(reader: Connection, conn: Connection, action: str) -> None:
    """The event has the server's stamps and its leaf hash, as that of a writer has."""
    with bind(actor="user:42", request_id="r-1"):
        record_access(reader, AuditEvent(action=action, target="claim:7", data={"query": "tenant:nörd"}))
    (job,) = queued(conn)
    assert job["event"]["action"] == action
    assert job["event"]["actor"] == {"type": "user", "id": "42"}
    assert job["event"]["context"]["request_id"] == "r-1"
    assert job["event"]["data"] == {"query": "tenant:nörd"}
    assert job["event"]["recorded_by"] == "t_access_reader"
    assert job["leaf_hash"] == value(conn, HASH)


@pytest.mark.parametrize(
    "document", ['{"action": "claim.approved"}', "{}", "[]", '[{"action": "audit.viewed"}]', "null"]
)
def test_other_actions_are_refused(reader: Connection, dsn: str, document: str) -> None:
    """A reader cannot record through this function what only a writer may record."""
    with pytest.raises(InsufficientPrivilege, match="records only audit"):
        reader.execute("SELECT pgaudit.record_access(%s)", [document])
    with pytest.raises(InsufficientPrivilege) as refused:
        record_access(reader, AuditEvent(action="claim.approved"))
    assert refused.value.__notes__ == ["pgaudit: see `pgaudit grant`"]
    assert queued_events_in(dsn) == []


def test_an_invalid_event_is_refused(reader: Connection, dsn: str) -> None:
    """The checks are those of record."""
    with pytest.raises(InvalidEvent, match="49152 are allowed"):
        record_access(reader, AuditEvent(action=VIEWED, data={"text": "x" * 50_000}))
    assert queued_events_in(dsn) == []


def test_the_event_is_part_of_the_callers_transaction(reader: Connection, dsn: str) -> None:
    """A rolled-back transaction leaves no trace; a refused event does not break the transaction."""
    with pytest.raises(ZeroDivisionError), reader.transaction():
        record_access(reader, AuditEvent(action=VIEWED))
        raise ZeroDivisionError
    assert queued_events_in(dsn) == []
    with reader.transaction():
        with pytest.raises(InsufficientPrivilege):
            record_access(reader, AuditEvent(action="claim.approved"))
        record_access(reader, AuditEvent(action=VIEWED))
    assert [event["action"] for event in queued_events_in(dsn)] == [VIEWED]
