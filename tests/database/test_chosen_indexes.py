"""Indexes that the owner chooses: built while the log is in use, on each partition, and used by the conditions."""

import random
import string
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, QueryCanceled

from pgaudit import AuditContext, AuditEvent, Change, Settings, indexes
from pgaudit._schema import fingerprint
from pgaudit.errors import IndexRefused
from pgaudit.grants import grant
from pgaudit.indexes import changing
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.partitions import add_partitions, ranges
from tests.support.queries import LOG_SIZE, Connection, rows_and_commit, value, value_in
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until, wait_until_async
from tests.support.worker import working

BTREES = ("request", "correlation", "trace", "session", "ip")
PATHS = ("data.claim_number", "data.a.b", "data.it's", 'data.per%cent "x" $$', "data.Ünïcode.0", "data." + "k" * 195)
BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for%snapshots'"
PRIMARY = "SELECT relname::text FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisprimary"
CHILDREN = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit_log_chosen_%' AND relkind = 'i'"


@pytest.fixture
def owner(small: Connection) -> Iterator[Connection]:
    """A connection of the owner in autocommit, to a log with small partitions."""
    dsn = small.info.dsn
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def telling(number: int) -> AuditEvent:
    """Returns an event that has something of its own under each name."""
    text = f"v-{number}"
    data: dict[str, Any] = {"claim_number": text, "a": {"b": text}, "it's": text, 'per%cent "x" $$': text}
    return AuditEvent(
        action="claim.approved",
        changes=[Change(path="status", before="open", after=text)],
        context=AuditContext(request_id=text, correlation_id=text, trace_id=text, session_id=text, ip=text),
        data=data | {"Ünïcode": {"0": text}, "k" * 195: text},
    )


def found(conn: Connection, name: str, sought: str) -> list[int]:
    """Returns the indexes of the events that a condition selects, the newest first."""
    query = sql.SQL("SELECT index FROM pgaudit.audit_log WHERE {} ORDER BY index DESC LIMIT %s")
    return [index for (index,) in conn.execute(query.format(indexes.condition(name, sought)), [50]).fetchall()]


def used(conn: Connection, name: str, sought: str) -> tuple[set[str], set[str]]:
    """Returns the types of the nodes in the plan of such a query, and the names of the indexes that it uses."""
    query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT index FROM pgaudit.audit_log WHERE {} ORDER BY index DESC LIMIT %s")
    ((plans,),) = conn.execute(query.format(indexes.condition(name, sought)), [50]).fetchall()
    plan = list(nodes(plans[0]["Plan"]))
    return {node["Node Type"] for node in plan}, {node["Index Name"] for node in plan if "Index Name" in node} - {
        index for (index,) in conn.execute(PRIMARY).fetchall()
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Returns a node and all nodes below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


@contextmanager
def old_snapshot(dsn: str) -> Generator[Connection]:
    """Keeps a snapshot open, for which CREATE INDEX CONCURRENTLY waits."""
    with psycopg.connect(dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute(LOG_SIZE)
        yield conn
        conn.rollback()


class Adding(threading.Thread):
    """Adds an index in a thread; ``error`` is how it failed."""

    def __init__(self, dsn: str, name: str) -> None:
        super().__init__()
        self.dsn, self.name_of_index = dsn, name
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            with psycopg.connect(self.dsn, autocommit=True) as conn:
                indexes.add(conn, self.name_of_index)
        except psycopg.Error as error:
            self.error = error


@pytest.mark.parametrize("name", [*BTREES, *PATHS])
def test_a_condition_is_served_by_its_index_in_each_partition(owner: Connection, name: str) -> None:
    """Events are found in order, without a sort, by an index on each partition, whatever the path is made of."""
    record_persist_and_commit(owner, *map(telling, range(600)))
    before = found(owner, name, "v-300")
    assert indexes.add(owner, name).complete
    assert found(owner, name, "v-300") == before == [300]
    kinds, served = used(owner, name, "v-300")
    assert "Sort" not in kinds
    assert "Seq Scan" not in kinds
    assert len(served) == len(ranges(owner))


@pytest.mark.parametrize(
    ("name", "sought"), [("data", '{"a": {"b": "v-300"}}'), ("changes", '[{"path": "status", "after": "v-300"}]')]
)
def test_documents_are_searched_by_containment(owner: Connection, name: str, sought: str) -> None:
    """The GIN indexes serve any JSON that is contained in data, or in one of the changes."""
    record_persist_and_commit(owner, *map(telling, range(600)))
    indexes.add(owner, name)
    assert found(owner, name, sought) == [300]
    kinds, served = used(owner, name, sought)
    assert "Bitmap Index Scan" in kinds
    assert served


def test_values_of_any_length_are_appended_and_found(owner: Connection) -> None:
    """An index entry has a maximum of 2,704 bytes; a longer value must neither stop an append nor be missed."""
    indexes.add(owner, "data.text")
    random.seed(11)
    texts = ["".join(random.choices(string.ascii_letters + "äöü€😀", k=9_000)) for _ in range(3)]
    recorded = [AuditEvent(action="claim.noted", data={"text": text}) for text in [*texts, texts[0][:-1] + "!"]]
    assert record_persist_and_commit(owner, *recorded) == []
    assert [found(owner, "data.text", text) for text in texts] == [[0], [1], [2]]


def test_new_partitions_have_the_index(owner: Connection) -> None:
    """Partitions that are created later need no command, also while the index is not complete."""
    indexes.add(owner, "request")
    add_partitions(owner, 2)
    with pytest.raises(InterruptedError):
        indexes.add(owner, "ip", interrupt)
    add_partitions(owner, 2)
    indexes.add(owner, "ip")
    for batch in (range(1_000), range(1_000, 1_300)):
        record_persist_and_commit(owner, *map(telling, batch))
    assert len(ranges(owner)) == 6
    for name in ("request", "ip"):
        assert found(owner, name, "v-1299") == [1_299]
        assert len(used(owner, name, "v-1299")[1]) == 6
    assert all(index.complete for index in indexes.list_indexes(owner))


def interrupt(_: indexes.Step) -> None:
    """Ends a build as the end of its process would."""
    raise InterruptedError


@pytest.mark.anyio
async def test_a_worker_appends_while_an_index_is_built(owner: Connection, settings: Settings, dsn: str) -> None:
    """The build waits for an old snapshot, and no append waits for the build; the index has the new events."""
    record_persist_and_commit(owner, *events(10))
    async with working(settings):
        with old_snapshot(dsn):
            adding = Adding(dsn, "data.claim_number")
            await wait_until_async("the build waits", lambda: value_in(dsn, BUILDING))
            record_and_commit(owner, *map(telling, range(500)))
            await wait_until_async("the worker appends", lambda: value_in(dsn, LOG_SIZE) == 510)
            assert value_in(dsn, BUILDING)
        await wait_until_async("the index is built", lambda: not adding.is_alive())
    assert adding.error is None
    owner.execute("ANALYZE pgaudit.audit_log")
    assert len(found(owner, "data.claim_number", "v-499")) == 1
    assert len(used(owner, "data.claim_number", "v-499")[1]) == len(ranges(owner))


def test_an_interrupted_build_is_taken_up_again(owner: Connection, dsn: str) -> None:
    """What it leaves is not used by any search, and is replaced."""
    record_persist_and_commit(owner, *map(telling, range(300)))
    with old_snapshot(dsn):
        adding = Adding(dsn, "request")
        wait_until("the build waits", lambda: value_in(dsn, BUILDING))
        owner.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index")
        adding.join()
    assert isinstance(adding.error, QueryCanceled)
    assert value(owner, "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indisready") >= 1
    assert [(index.name, index.complete) for index in indexes.list_indexes(owner)] == [("request", False)]
    assert owner.execute(indexes.CHOSEN_NAMES).fetchall() == []
    assert indexes.add(owner, "request").complete
    assert owner.execute(indexes.CHOSEN_NAMES).fetchall() == [("request",)]
    assert value(owner, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert found(owner, "request", "v-299") == [299]


def test_progress_names_each_partition(owner: Connection) -> None:
    """One step for each partition that lacks the index; adding it again has nothing to do."""
    steps: list[indexes.Step] = []
    add_partitions(owner, 1)
    with pytest.raises(InterruptedError):
        indexes.add(owner, "ip", interrupt)
    indexes.add(owner, "ip", steps.append)
    assert [(step.partition, step.number, step.count) for step in steps] == [
        ("audit_log_512", 1, 3), ("audit_log_256", 2, 3), ("audit_log_0", 3, 3),
    ]  # fmt: skip
    indexes.add(owner, "ip", lambda _: pytest.fail("a step of an index that is complete"))


def test_the_index_is_completed_after_its_last_partition_was_detached(owner: Connection) -> None:
    """Postgres marks an index as valid only when one is attached; there is none left to attach."""

    def interrupt_last(step: indexes.Step) -> None:
        if step.number == step.count:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        indexes.add(owner, "ip", interrupt_last)
    owner.execute("ALTER TABLE pgaudit.audit_log DETACH PARTITION pgaudit.audit_log_0")
    assert indexes.add(owner, "ip").complete


def test_an_index_is_removed_with_all_that_was_built(owner: Connection) -> None:
    """A complete one, and what an interrupted build has left: neither is there any more."""
    indexes.add(owner, "data.claim_number")
    with pytest.raises(InterruptedError):
        indexes.add(owner, "ip", interrupt)
    (partition,) = rows_and_commit(owner, "SELECT max(partition)::oid::bigint FROM pgaudit.log_partitions()")
    owner.execute(f"CREATE INDEX audit_log_chosen_ip_{partition[0]} ON pgaudit.audit_log_256 (index)".encode())
    for name in ("data.claim_number", "ip"):
        indexes.remove(owner, name)
    assert value(owner, CHILDREN) == 0
    assert indexes.list_indexes(owner) == []
    with pytest.raises(IndexRefused, match="no index ip: `pgaudit index list`"):
        indexes.remove(owner, "ip")


def test_a_locked_log_is_given_way_to(owner: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that has appended keeps the index from being created; other appends go on, and nothing is left."""
    monkeypatch.setattr(changing, "ATTEMPTS", 2)
    monkeypatch.setattr(changing, "PAUSE", 0.01)
    with psycopg.connect(dsn) as conn:
        conn.execute("LOCK TABLE pgaudit.audit_log IN ROW EXCLUSIVE MODE")
        with pytest.raises(IndexRefused, match="keeps the audit log locked: end it"):
            indexes.add(owner, "ip")
        record_persist_and_commit(owner, telling(1))
    assert indexes.list_indexes(owner) == []
    assert indexes.add(owner, "ip").complete


def test_the_limits_of_the_session_apply_again_afterwards(dsn: str) -> None:
    """A statement_timeout does not end a build, and is as before; the lock is given back."""
    with psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=50ms -c lock_timeout=40ms") as conn:
        with old_snapshot(dsn) as old:
            threading.Timer(0.3, old.rollback).start()
            indexes.add(conn, "ip")
        assert value(conn, "SHOW statement_timeout") == "50ms"
        assert value(conn, "SHOW lock_timeout") == "40ms"
        assert value(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_one_session_changes_indexes_at_a_time(owner: Connection, dsn: str) -> None:
    """A second one is refused, because it would take a build for a broken one."""
    with old_snapshot(dsn):
        adding = Adding(dsn, "ip")
        wait_until("the build waits", lambda: value_in(dsn, BUILDING))
        for change in (indexes.add, indexes.remove):
            with pytest.raises(IndexRefused, match="another session adds or removes an index"):
                change(owner, "ip")
    adding.join()
    assert adding.error is None


@pytest.mark.parametrize(
    "name", ["", "requests", "data.", "data.a..b", "event.x", "data.a\0", "data.\ud800", "data." + "k" * 196]
)
def test_other_names_are_refused(owner: Connection, name: str) -> None:
    """The error has the names that there are."""
    for change in (indexes.add, indexes.remove):
        with pytest.raises(
            IndexRefused, match="name one of request, correlation, trace, session, ip, data, changes, or"
        ):
            change(owner, name)


def test_only_the_owner_outside_of_a_transaction_adds(small: Connection, owner: Connection, dsn: str) -> None:
    """Other roles read whom to connect as; a transaction cannot build an index without blocking appends."""
    with pytest.raises(IndexRefused, match="outside of transactions"):
        indexes.add(small, "ip")
    with owner.transaction(), pytest.raises(IndexRefused, match="outside of transactions"):
        indexes.remove(owner, "ip")
    with temporary_roles(dsn, "t_index_reader"), psycopg.connect(dsn, user="t_index_reader", autocommit=True) as conn:
        grant(owner, reader="t_index_reader")
        for change in (indexes.add, indexes.remove):
            with pytest.raises(InsufficientPrivilege, match="can add and remove indexes: connect as postgres"):
                change(conn, "ip")


def test_a_reader_sees_which_indexes_there_are(owner: Connection, dsn: str) -> None:
    """The search asks for the names of the complete ones, by the catalog alone."""
    for name in ("request", "data.it's", "changes"):
        indexes.add(owner, name)
    with temporary_roles(dsn, "t_index_reader"), psycopg.connect(dsn, user="t_index_reader", autocommit=True) as conn:
        grant(owner, reader="t_index_reader")
        assert conn.execute(indexes.CHOSEN_NAMES).fetchall() == [("changes",), ("data.it's",), ("request",)]
        assert {index.name: index.bytes > 0 for index in indexes.list_indexes(conn)} == dict.fromkeys(
            ("changes", "data.it's", "request"), True
        )


def test_chosen_indexes_are_no_change_by_hand(owner: Connection) -> None:
    """The schema is as it was installed, complete or not; a missing index of pgaudit's own is still named."""
    indexes.add(owner, "data.claim_number")
    with pytest.raises(InterruptedError):
        indexes.add(owner, "ip", interrupt)
    assert fingerprint.differences(owner) == []
    owner.execute("DROP INDEX pgaudit.audit_log_outcome_idx")
    (difference,) = fingerprint.differences(owner)
    assert difference.startswith("index pgaudit.audit_log_outcome_idx of pgaudit.audit_log is missing")
