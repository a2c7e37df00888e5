"""Coverage: which tables are captured or guarded, since when nothing was recorded, and what passed without an event."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.grants import grant
from pgaudit.guard import TableCoverage, coverage
from tests.database.test_plans import explained, plan_of, query_of, use_settings_of
from tests.support.events import events
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.partitions import ranges
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.tampering import tamper


def tables(conn: Connection) -> dict[str, TableCoverage]:
    """Returns the tables by their names."""
    return {table.name: table for table in coverage.report(conn).tables}


def test_each_table_is_captured_guarded_or_neither(shop: Connection) -> None:
    """With what its guard does, and the type of its targets."""
    found = {
        table.table_name: (table.capture, table.guard, table.on_missing, table.target_type)
        for table in tables(shop).values()
    }
    assert found == {
        "claims": ("captured", None, None, "claim"),
        "payments": (None, "guarded", "warn", "payment"),
        "notes": (None, None, None, None),
    }
    report = coverage.report(shop)
    assert [table.name for table in report.uncovered] == ["public.notes"]


def test_only_tables_of_the_application_are_listed(shop: Connection) -> None:
    """Not those of migration tools, extensions, views, temporary tables; partitions are counted with their parent."""
    shop.execute("CREATE TABLE alembic_version (v text); CREATE TABLE django_migrations (id int)")
    shop.execute("CREATE TEMP TABLE passing (id int); CREATE VIEW open_claims AS SELECT * FROM claims")
    shop.execute("CREATE TABLE of_extension (id int); ALTER EXTENSION plpgsql ADD TABLE of_extension")
    shop.execute("CREATE SCHEMA insurance; CREATE TABLE insurance.policies (id int, y int) PARTITION BY LIST (y)")
    shop.execute("CREATE TABLE insurance.p1 PARTITION OF insurance.policies FOR VALUES IN (1) PARTITION BY LIST (id)")
    shop.execute("CREATE TABLE insurance.p11 PARTITION OF insurance.p1 DEFAULT")
    shop.execute("CREATE TABLE insurance.p2 PARTITION OF insurance.policies FOR VALUES IN (2)")
    shop.execute("INSERT INTO insurance.policies SELECT n, 1 + n % 2 FROM generate_series(1, 100) n")
    shop.execute("ANALYZE insurance.policies")
    found = tables(shop)
    assert sorted(found) == ["insurance.policies", "public.claims", "public.notes", "public.payments"]
    assert found["insurance.policies"].estimated_rows == 100


def test_changed_rows_are_counted(shop: Connection) -> None:
    """Inserted, updated and deleted rows, as the statistics count them."""
    shop.execute("INSERT INTO notes VALUES (1, 'a'), (2, 'b')")
    shop.execute("UPDATE notes SET body = 'c' WHERE id = 1")
    shop.execute("DELETE FROM notes WHERE id = 2")
    shop.execute("SELECT pg_stat_force_next_flush()")
    assert tables(shop)["public.notes"].changed_rows == 4


@pytest.mark.parametrize(("table", "purpose"), [("claims", "capture"), ("payments", "guard")])
def test_a_pause_is_distinguished_from_a_broken_trigger(shop: Connection, table: str, purpose: str) -> None:
    """A trigger that is disabled or dropped without a pause is broken."""

    def state() -> str | None:
        found: str | None = getattr(tables(shop)[f"public.{table}"], purpose)
        return found

    shop.execute(f"SELECT pgaudit.pause_{purpose}('{table}', true)")
    assert state() == "paused"
    assert not tables(shop)[f"public.{table}"].is_covered
    shop.execute(f"SELECT pgaudit.pause_{purpose}('{table}', false)")
    assert state() in {"captured", "guarded"}
    for change in ("DISABLE TRIGGER", "ENABLE TRIGGER"):  # ENABLE alone: session_replication_role switches it off
        shop.execute(f'ALTER TABLE {table} {change} "0_pgaudit_{purpose}_delete"')
        assert state() == "broken"
    shop.execute(f'ALTER TABLE {table} ENABLE ALWAYS TRIGGER "0_pgaudit_{purpose}_delete"')
    assert state() in {"captured", "guarded"}
    shop.execute(f'DROP TRIGGER "0_pgaudit_{purpose}_truncate" ON {table}')
    assert state() == "broken"


def test_a_partition_without_its_triggers_breaks_the_capture(shop: Connection) -> None:
    """A new one has none for TRUNCATE until the capture is renewed."""
    shop.execute("CREATE TABLE visits (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    shop.execute("CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10)")
    shop.execute("SELECT pgaudit.add_capture('visits', 'visit', '{id}')")
    shop.execute("CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (10) TO (20)")
    assert tables(shop)["public.visits"].capture == "broken"
    shop.execute("SELECT pgaudit.renew_capture('visits')")
    assert tables(shop)["public.visits"].capture == "captured"
    shop.execute('ALTER TABLE visits_2 DISABLE TRIGGER "0_pgaudit_capture_update"')
    assert tables(shop)["public.visits"].capture == "broken"


def test_coverage_has_the_time_of_the_newest_captured_event(shop: Connection) -> None:
    """By the actions of its capture; not when it was recorded by the application under another one."""
    assert tables(shop)["public.claims"].last_event_at is None
    record_persist_and_commit(shop, AuditEvent(action="claim.approved"), AuditEvent(action="claims.created"))
    assert tables(shop)["public.claims"].last_event_at is None
    before = datetime.now(UTC)
    shop.execute("INSERT INTO claims VALUES (1, 'open')")
    persist_and_commit(shop)
    last = tables(shop)["public.claims"].last_event_at
    assert last is not None
    assert before <= last <= datetime.now(UTC)
    shop.execute("INSERT INTO claims VALUES (2, 'open')")
    persist_and_commit(shop)
    newest = tables(shop)["public.claims"].last_event_at
    assert newest is not None
    assert newest > last


def test_coverage_has_the_time_of_the_newest_event_of_a_guarded_table(shop: Connection) -> None:
    """By the beginning of the actions that its guard expects: payment., and those of its patterns."""
    record_persist_and_commit(shop, AuditEvent(action="payments.sent"), AuditEvent(action="paymen.t"))
    assert tables(shop)["public.payments"].last_event_at is None
    record_persist_and_commit(shop, AuditEvent(action="payment.sent"))
    first = tables(shop)["public.payments"].last_event_at
    assert first is not None
    shop.execute("SELECT pgaudit.add_guard('payments', 'payment', '{id}', actions => '{\"insert\": \"ledger.*\"}')")
    record_persist_and_commit(shop, AuditEvent(action="ledger.booked"))
    second = tables(shop)["public.payments"].last_event_at
    assert second is not None
    assert second > first


def test_tables_without_events_are_silent(shop: Connection) -> None:
    """Captured and guarded tables without an event for the given time are listed; not those that were just added."""
    report = coverage.report(shop)
    assert report.silent(timedelta(days=1)) == []
    assert [table.added_at is None for table in report.tables] == [False, True, False]
    for table in ("captured_table", "guarded_table"):
        shop.execute(f"UPDATE pgaudit.{table} SET added_at = added_at - interval '2 days'".encode())
    shop.execute("INSERT INTO claims VALUES (1, 'open')")
    persist_and_commit(shop)
    report = coverage.report(shop)
    assert [table.name for table in report.silent(timedelta(days=1))] == ["public.payments"]
    assert [table.name for table in report.silent(timedelta())] == ["public.claims", "public.payments"]


def test_changes_without_an_event_are_listed(shop: Connection) -> None:
    """With transaction, role, application and targets, for a day; changes with an event are not there."""
    shop.execute("SET application_name = 'nightly'")
    with shop.transaction():
        shop.execute("INSERT INTO payments SELECT n, 10 FROM generate_series(1, 7) n")
        xid = shop.execute("SELECT pg_current_xact_id()::text").fetchone()
    with shop.transaction():
        shop.execute("UPDATE payments SET amount = 1 WHERE id = 1")
        AuditLog(Settings()).record(shop, AuditEvent(action="payment.changed", target="payment:1"))
    report = coverage.report(shop)
    (change,) = report.latest
    assert (change.table, change.operation, change.count) == ("public.payments", "insert", 7)
    assert ((change.transaction,), change.application, change.role) == (xid, "nightly", shop.info.user)
    assert len(change.targets) == 5
    assert set(change.targets) <= {f"payment:{n}" for n in range(1, 8)}
    assert (report.unrecorded_changes, tables(shop)["public.payments"].unrecorded_changes) == (7, 7)
    tamper(shop, "UPDATE pgaudit.unrecorded_change SET found_at = found_at - interval '25 h'")
    report = coverage.report(shop)
    assert (report.unrecorded_changes, report.latest, tables(shop)["public.payments"].unrecorded_changes) == (0, [], 0)


def test_changes_of_a_dropped_table_stay_readable(shop: Connection) -> None:
    """A dropped table has no name, so its number stands there."""
    shop.execute("INSERT INTO payments VALUES (1, 1)")
    shop.execute("DROP TABLE payments")
    (change,) = coverage.report(shop).latest
    assert change.table.isdigit()


def test_a_reader_sees_the_coverage(shop: Connection) -> None:
    """Without any right to the tables themselves."""
    with temporary_roles(shop.info.dsn, "t_coverage"):
        grant(shop, reader="t_coverage")
        with psycopg.connect(shop.info.dsn, user="t_coverage") as reader:
            assert len(coverage.report(reader).tables) == 3


def test_names_are_matched_with_and_without_their_schema(shop: Connection) -> None:
    """Patterns are those of the shell, such as pay*."""
    claims = tables(shop)["public.claims"]
    assert all(claims.matches([pattern]) for pattern in ("claims", "public.claims", "public.*", "cl?ims"))
    assert not claims.matches(["claim", "other.*", "Claims"])


@pytest.mark.parametrize("analyzed", [False, True])
def test_the_newest_event_is_found_by_the_index_of_actions(small: Connection, analyzed: bool) -> None:
    """One step in each partition, whether the action is that of all events, or of none."""
    record_persist_and_commit(small, *events(2_000))
    if analyzed:
        small.execute("ANALYZE")
    partitions = len(ranges(small))
    for action in (events(1)[0].action, "claim.created"):
        for query in (f"last_recorded_at('{{{action}}}')", f"logged_actions('{{{action}}}')"):
            small.execute(f"SELECT pgaudit.{query}")  # reads the catalog
            plan = explained(small, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT pgaudit.{query}")
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 12 * partitions, query
    use_settings_of(small, "last_recorded_at")
    wanted = query_of(small, "last_recorded_at", "ORDER BY").replace("wanted.action", "'claim.created'")
    indexes = [node["Index Name"] for node in plan_of(small, wanted) if "Scan" in node["Node Type"]]
    assert len(indexes) == partitions
    assert all(name.endswith("_action_index_idx") for name in indexes)
