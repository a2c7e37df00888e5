"""A transaction that changes a guarded row without an event for it does not commit; nothing fools the guard."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import AuditEvent, AuditLog, Change, Settings
from pgaudit.grants import grant
from pgaudit.testing import run_worker_once
from tests.guard.database.replay import captured
from tests.support.queries import Connection

ADD = "SELECT pgaudit.add_guard('claims', 'claim', '{id}')"
UPDATE = "UPDATE claims SET status = 'paid' WHERE id = 7"


def paid(target: str = "claim:7", **values: Any) -> AuditEvent:
    """Returns an event for a claim."""
    return AuditEvent(**{"action": "claim.paid", "target": target, "actor": "user:42"} | values)


@pytest.fixture
def guarded(owner: Connection, app: Connection) -> Iterator[Connection]:
    """A session of the application; claims 7 and 8 exist, and the table is guarded."""
    owner.execute("INSERT INTO claims (id) VALUES (7), (8)")
    owner.execute(ADD)
    app.autocommit = False
    yield app
    app.rollback()


def record(conn: Connection, *events: AuditEvent) -> None:
    """Records events."""
    AuditLog(Settings()).record(conn, *events)


def refused(conn: Connection, match: str = "without an audit event") -> psycopg.Error:
    """Asserts that the transaction cannot be committed, and returns the error."""
    with pytest.raises(psycopg.Error, match=match) as error:
        conn.commit()
    assert error.value.sqlstate == "PA002"
    conn.rollback()
    return error.value


def statuses(conn: Connection) -> list[str]:
    """Returns the status of each claim."""
    return [status for (status,) in conn.execute("SELECT status FROM claims ORDER BY id").fetchall()]


def test_the_error_names_table_key_and_remedy(guarded: Connection, owner: Connection) -> None:
    """And nothing has changed."""
    guarded.execute("UPDATE claims SET status = 'paid'")
    error = refused(guarded)
    assert str(error).splitlines()[0] == "public.claims: claim:7, claim:8 updated without an audit event"
    assert (error.diag.schema_name, error.diag.table_name) == ("public", "claims")
    assert str(error.diag.message_hint).startswith("Record a new event in the same transaction: audit.record(")
    assert 'AuditEvent(action="claim.…", target="claim:7")' in str(error.diag.message_hint)
    assert statuses(owner) == ["open", "open"]


@pytest.mark.parametrize("order", ["before", "after", "in a savepoint", "autonomous savepoints"])
def test_a_transaction_with_its_event_commits(guarded: Connection, owner: Connection, order: str) -> None:
    """In whichever order they come."""
    if order == "before":
        record(guarded, paid())
    guarded.execute(UPDATE)
    if order == "after":
        record(guarded, paid())
    elif order != "before":
        with guarded.transaction():
            record(guarded, paid())
    guarded.commit()
    assert statuses(owner) == ["paid", "open"]
    assert owner.execute("SELECT count(*) FROM pgaudit.guarded_change").fetchone() == (0,)


def test_one_event_may_have_several_targets(guarded: Connection) -> None:
    """And one transaction several statements and operations."""
    guarded.execute("UPDATE claims SET status = 'paid'")
    guarded.execute("INSERT INTO claims (id) VALUES (9)")
    guarded.execute("DELETE FROM claims WHERE id = 8")
    record(guarded, AuditEvent(action="claim.merged", targets=("claim:7", "claim:8", "claim:9")))
    guarded.commit()


def test_what_is_no_change_needs_no_event(guarded: Connection) -> None:
    """An UPDATE to the same values, a change that is rolled back, rows that do not exist."""
    guarded.execute("UPDATE claims SET status = status")
    guarded.execute("DELETE FROM claims WHERE id = 99")
    with guarded.transaction(force_rollback=True):
        guarded.execute(UPDATE)
    guarded.commit()


def nothing(conn: Connection) -> None:
    """Does nothing."""
    assert conn


def other_target(conn: Connection) -> None:
    """Records an event for another claim, and one for another type with the same id."""
    record(conn, paid("claim:8"), paid("policy:7"), paid("claim:70"))


def other_outcome(conn: Connection) -> None:
    """Records that the change has failed, or was denied."""
    record(conn, paid(outcome="failure"), paid(outcome="denied"))


def rolled_back_event(conn: Connection) -> None:
    """Rolls the event back, and keeps the change."""
    with conn.transaction(force_rollback=True):
        record(conn, paid())


def forged_settings(conn: Connection) -> None:
    """Sets every setting that pgaudit uses."""
    for name in ("first_job", "first_index", "context", "caught_calls"):
        conn.execute("SELECT set_config(%s, '0', true)", [f"audit.{name}"])


def unusable_hints(conn: Connection) -> None:
    """Makes the guard look for events where there are none."""
    record(conn, paid("claim:8"))
    conn.execute("SET LOCAL audit.first_job = '9223372036854775808'; SET LOCAL audit.first_index = 'x'")


def immediate(conn: Connection) -> None:
    """Asks for the check now, as a constraint can be."""
    with pytest.raises(psycopg.Error, match="without an audit event"):
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.rollback()
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    conn.execute(UPDATE)


def later_trigger(conn: Connection) -> None:
    """Changes the row again, in a deferred trigger that fires after the guard's check."""
    conn.execute("""
        CREATE TABLE zz_later (x int);
        CREATE FUNCTION zz_change() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE claims SET note = 'later' WHERE id = 8; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER zz_change AFTER INSERT ON zz_later DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION zz_change()
    """)
    record(conn, paid())
    conn.execute("INSERT INTO zz_later VALUES (1)")


def invalid_event(conn: Connection) -> None:
    """Records what could never be appended."""
    event = json.loads(paid().to_json()) | {"outcome": None}
    with pytest.raises(psycopg.Error, match="outcome"), conn.transaction():
        conn.execute("SELECT pgaudit.record(%s)", [json.dumps([event])])


def captured_event(conn: Connection) -> None:
    """Imitates a captured event."""
    event = json.loads(paid().to_json()) | {"context": {"source": "database"}}
    with pytest.raises(psycopg.Error, match="reserved"), conn.transaction():
        conn.execute("SELECT pgaudit.record(%s)", [json.dumps([event])])


def direct_write(conn: Connection) -> None:
    """Removes what the guard has noted."""
    for statement in ("DELETE FROM pgaudit.guarded_change", "INSERT INTO pgaudit.audit_jobs (event) VALUES ('{}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


def disable(conn: Connection) -> None:
    """Disables the guard in each way that SQL has."""
    for statement in (
        'ALTER TABLE claims DISABLE TRIGGER "0_pgaudit_guard_update"',
        "ALTER TABLE claims DISABLE TRIGGER ALL",
        "ALTER TABLE pgaudit.guarded_change DISABLE TRIGGER ALL",
        'DROP TRIGGER "0_pgaudit_guard_update" ON claims',
        "SET session_replication_role = replica",
        "SELECT pgaudit.pause_guard('claims', true)",
        "CREATE OR REPLACE FUNCTION pgaudit.guard_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


def other_schema(conn: Connection) -> None:
    """Puts tables and functions with the same names on its search_path."""
    conn.execute("""
        CREATE TEMP TABLE guarded_change (
            xid xid8, number bigint, guard int, operation text, keys text[], new_keys text[], events text[]);
        CREATE TEMP TABLE audit_jobs (id bigint, event jsonb); SET LOCAL search_path = pg_temp, public
    """)
    conn.execute("INSERT INTO audit_jobs VALUES (1, %s)", [f"[{paid().to_json()}]"])


@pytest.mark.parametrize(
    "attempt",
    [
        nothing,
        other_target,
        other_outcome,
        rolled_back_event,
        forged_settings,
        unusable_hints,
        immediate,
        later_trigger,
        invalid_event,
        captured_event,
        direct_write,
        disable,
        other_schema,
    ],
)
def test_nothing_else_satisfies_the_guard(
    guarded: Connection, owner: Connection, attempt: Callable[[Connection], None]
) -> None:
    """Whatever the application's role does instead of recording an event for that row."""
    guarded.execute(UPDATE)
    attempt(guarded)
    refused(guarded)
    assert statuses(owner) == ["open", "open"]


@pytest.mark.parametrize("place", ["queue", "log", "this transaction"])
def test_an_old_event_recorded_again_does_not_count(guarded: Connection, owner: Connection, place: str) -> None:
    """Whether it still waits in the queue, or is in the log; nor does a second event of one id."""
    old = paid()
    record(guarded, old if place != "this transaction" else paid("claim:8"))
    guarded.commit()
    if place == "log":
        run_worker_once(owner)
    guarded.execute("UPDATE claims SET status = 'paid'" if place == "this transaction" else UPDATE)
    if place == "this transaction":
        record(guarded, paid("claim:8", id=old.id))
    record(guarded, old)
    refused(guarded, "claim:7 updated")


def test_in_mode_inline_an_event_counts_and_an_old_one_does_not(guarded: Connection, owner: Connection) -> None:
    """Its event is in the log, and no longer in the queue, when the transaction commits."""
    grant(owner, inline="claims_app")
    inline, old = AuditLog(Settings(mode="inline")), paid()
    guarded.execute(UPDATE)
    inline.record(guarded, old)
    guarded.commit()
    guarded.execute("UPDATE claims SET status = 'again' WHERE id = 7")
    inline.record(guarded, old)
    refused(guarded)
    guarded.execute("UPDATE claims SET status = 'again' WHERE id = 7")
    inline.record(guarded, paid("claim:8"))
    refused(guarded)


def test_actions_are_demanded_by_operation(guarded: Connection, owner: Connection) -> None:
    """An event with an empty meaning, such as claim.viewed, does not count."""
    actions = '{"insert": "claim.opened", "update": "claim.p*", "delete": "claim.deleted"}'
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', actions => %s)", [actions])
    guarded.execute(UPDATE)
    record(guarded, paid(action="claim.viewed"), paid(action="claims.paid"), paid(action="claim.deleted"))
    assert 'action="claim.p…"' in str(refused(guarded).diag.message_hint)
    guarded.execute(UPDATE)
    guarded.execute("DELETE FROM claims WHERE id = 8")
    record(guarded, paid(), paid("claim:8"))
    refused(guarded, "claim:8 deleted")
    guarded.execute(UPDATE)
    record(guarded, paid())
    guarded.commit()


def test_changes_are_demanded_with_what_the_row_has_now(guarded: Connection, owner: Connection) -> None:
    """An event for the right row with other content does not count."""
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', with_changes => true, masked => '{note}')")
    statement = "UPDATE claims SET amount = 12.5, status = 'paid', note = 'x' WHERE id = 7"
    status, note = Change(path="status", after="paid"), Change(path="note", before="***", after="***")
    for changes in (
        (),
        (status, note),
        (status, note, Change(path="amount", after=13)),
        (status, note, Change(path="amount")),
        (Change(path="status", after="PAID"), note, Change(path="amount", after=12.5)),
    ):
        guarded.execute(statement)
        record(guarded, paid(changes=changes))
        refused(guarded)
    guarded.execute(statement)
    record(guarded, paid(changes=(status, Change(path="amount", after="12.50"))))
    guarded.commit()
    guarded.execute("DELETE FROM claims WHERE id = 7")
    record(guarded, paid(changes=[Change(path=path, before="x") for path in ("id", "status", "amount")]))
    guarded.commit()


def test_a_missing_event_is_captured(guarded: Connection, owner: Connection) -> None:
    """For the rows that have none."""
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', 'capture')")
    guarded.execute("UPDATE claims SET status = 'paid'")
    record(guarded, paid())
    guarded.execute("TRUNCATE claims")
    guarded.commit()
    truncated, updated = (event for event in captured(owner) if "source" in event.get("context", {}))
    assert truncated["action"] == "claim.truncated"
    assert updated["targets"] == [{"type": "claim", "id": "8"}]
    assert updated["changes"] == [{"path": "status", "before": "open", "after": "paid"}]


def test_a_missing_event_is_noted(guarded: Connection, owner: Connection) -> None:
    """With transaction and role; the client gets a warning."""
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', 'warn')")
    warnings: list[str | None] = []
    guarded.add_notice_handler(lambda diagnostic: warnings.append(diagnostic.message_primary))
    guarded.execute("UPDATE claims SET status = 'paid'")
    guarded.execute("INSERT INTO claims (id) VALUES (9)")
    guarded.commit()
    noted = "SELECT relation::text, operation, count, targets, recorded_by FROM pgaudit.unrecorded_change ORDER BY 2"
    assert owner.execute(noted).fetchall() == [
        ("claims", "insert", 1, ["claim:9"], "claims_app"),
        ("claims", "update", 2, ["claim:7", "claim:8"], "claims_app"),
    ]
    assert sorted(map(str, warnings)) == [
        "public.claims: claim:7, claim:8 updated without an audit event",
        "public.claims: claim:9 inserted without an audit event",
    ]


def test_a_truncate_is_decided_at_once(guarded: Connection) -> None:
    """It needs an event for the table, before it."""
    with pytest.raises(psycopg.Error, match=r"TRUNCATE of public\.claims without an audit event") as error:
        guarded.execute("TRUNCATE claims")
    assert error.value.sqlstate == "PA002"
    guarded.rollback()
    record(guarded, AuditEvent(action="claim.truncated", target="table:public.claims"))
    guarded.execute("TRUNCATE claims")
    guarded.commit()


def test_copy_and_cascades_are_seen(guarded: Connection, owner: Connection) -> None:
    """Rows that no statement of the application names."""
    owner.execute("ALTER TABLE claims ADD FOREIGN KEY (parent) REFERENCES claims ON DELETE CASCADE")
    with guarded.cursor().copy("COPY claims (id, parent) FROM STDIN") as copy:
        copy.write("10\t7\n")
    refused(guarded, "claim:10 inserted")
    guarded.execute("INSERT INTO claims (id, parent) VALUES (10, 7)")
    record(guarded, paid("claim:10"))
    guarded.commit()
    guarded.execute("DELETE FROM claims WHERE id = 7")
    record(guarded, paid())
    refused(guarded, "claim:10 deleted")


def test_a_key_that_changes_is_named_before_or_after(guarded: Connection) -> None:
    """An event for either is one for the row."""
    guarded.execute("UPDATE claims SET id = id + 10")
    record(guarded, paid("claim:7"), paid("claim:18"))
    guarded.commit()


def test_a_captured_event_does_not_satisfy_a_guard(guarded: Connection, owner: Connection) -> None:
    """The guard asks for the application's own event, even where a trigger has recorded what has changed."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    guarded.execute(UPDATE)
    refused(guarded)


def test_neither_captured_events_nor_those_of_others_count_beside_an_own_one(
    guarded: Connection, owner: Connection, owned: str
) -> None:
    """The transaction has recorded something: the search for its events finds these, too."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    record(guarded, paid("claim:8"))
    with psycopg.connect(make_conninfo(owned, user="claims_app")) as other:
        record(other, paid())
    guarded.execute("UPDATE claims SET status = 'paid'")
    refused(guarded, "claim:7 updated")


def test_transactions_that_record_do_not_wait_for_each_other(guarded: Connection, owned: str) -> None:
    """No lock is shared: both have changed, and neither has committed."""
    with psycopg.connect(make_conninfo(owned, user="claims_app", options="-c lock_timeout=2s")) as other:
        for conn, target in ((guarded, 7), (other, 8)):
            conn.execute("UPDATE claims SET status = 'paid' WHERE id = %s", [target])
            record(conn, paid(f"claim:{target}"))
            conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        other.commit()
    guarded.commit()


def test_a_guard_is_paused_resumed_and_removed(guarded: Connection, owner: Connection) -> None:
    """Each is an event itself; the last guard takes its index with it."""
    index = "SELECT to_regclass('pgaudit.audit_jobs_event_id_idx') IS NOT NULL"
    owner.execute("SELECT pgaudit.pause_guard('claims', true)")
    guarded.execute(UPDATE)
    guarded.commit()
    owner.execute("SELECT pgaudit.pause_guard('claims', false)")
    guarded.execute("UPDATE claims SET status = 'x'")
    refused(guarded)
    assert owner.execute(index).fetchone() == (True,)
    owner.execute("SELECT pgaudit.remove_guard('claims')")
    assert owner.execute(index).fetchone() == (False,)
    guarded.execute("UPDATE claims SET status = 'x'")
    guarded.commit()
    actions = [event["action"] for event in captured(owner, "audit.%")]
    assert actions == [f"audit.guard_{verb}" for verb in ("added", "paused", "resumed", "removed")]


@pytest.mark.parametrize("on_missing", ["abort", "capture"])
def test_only_recorded_columns_need_an_event(guarded: Connection, owner: Connection, on_missing: str) -> None:
    """Nor does an update outside the condition, whether the guard needs only keys or whole events."""
    owner.execute(f"""
        SELECT pgaudit.add_guard('claims', 'claim', '{{id}}', '{on_missing}', excluded => '{{note}}',
                                 condition => 'new.amount > 10')""")
    guarded.execute("UPDATE claims SET amount = 20 WHERE id = 8")
    record(guarded, paid("claim:8"))
    guarded.commit()
    guarded.execute("UPDATE claims SET note = 'y' WHERE id = 8")
    guarded.execute("UPDATE claims SET status = 'paid' WHERE id = 7")
    guarded.commit()
    assert captured(owner, "claim.updated") == []
    guarded.execute("UPDATE claims SET status = 'x'")
    if on_missing == "abort":
        refused(guarded, "claim:8 updated")
    else:
        guarded.commit()
        assert [event["targets"][0]["id"] for event in captured(owner, "claim.updated")] == ["8"]


@pytest.mark.parametrize("claims", [1, 2, 10_001])
def test_each_row_of_a_statement_needs_an_event(guarded: Connection, owner: Connection, claims: int) -> None:
    """One row, several, and more than one note holds; inserted, updated and deleted."""
    with owner.transaction():
        owner.execute("SELECT pgaudit.pause_guard('claims', true)")
        owner.execute("DELETE FROM claims")
        owner.execute("SELECT pgaudit.pause_guard('claims', false)")
    numbers = f"generate_series(1, {claims}) n"
    changes = (f"INSERT INTO claims (id) SELECT n FROM {numbers}", "UPDATE claims SET note = 'x'", "DELETE FROM claims")
    for change in changes:
        guarded.execute(change)
        guarded.execute(
            f"""
            SELECT pgaudit.record(jsonb_agg(jsonb_build_object(
                'id', gen_random_uuid(), 'action', 'claim.x', 'outcome', 'success', 'schema_version', 1,
                'occurred_at', '2026-01-31T12:00:00Z', 'actor', '{{"type": "user", "id": "42"}}'::jsonb,
                'targets', jsonb_build_array(jsonb_build_object('type', 'claim', 'id', n::text))))) FROM {numbers}
             WHERE n < {claims}"""
            if claims > 1
            else "SELECT 1"
        )
        error = refused(guarded, f"public.claims: claim:{claims} (inserted|updated|deleted) without an audit event")
        assert error.diag.table_name == "claims"
        owner.execute("SELECT pgaudit.pause_guard('claims', true)")
        owner.execute(change)
        owner.execute("SELECT pgaudit.pause_guard('claims', false)")


def test_notes_are_not_written_by_hand(owner: Connection) -> None:
    """Not even by the owner, from a function: the names of functions are looked for, not those of tables."""
    for change in ("DELETE FROM pgaudit.guarded_change", "INSERT INTO pgaudit.guarded_change VALUES (DEFAULT)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit"):
            owner.execute(f"DO $$ BEGIN {change}; END $$")
