"""Each change of a captured table is an event, in whichever way a row is changed."""

import json

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgaudit import AuditEvent
from pgaudit.testing import run_worker_once
from pgaudit.testing.server import Server
from tests.guard.database.capturing import ADD, changes, targets
from tests.guard.database.replay import captured
from tests.support.queries import Connection


def test_inserted_updated_and_deleted_rows_are_captured(owner: Connection, app: Connection) -> None:
    """Each event has what has changed, and is accepted by AuditEvent and by a worker."""
    owner.execute(ADD)
    app.execute("INSERT INTO claims (id, amount) VALUES (7, 1.50)")
    app.execute("UPDATE claims SET status = 'paid', amount = 2 WHERE id = 7")
    app.execute("UPDATE claims SET status = 'paid' WHERE id = 7")
    app.execute("DELETE FROM claims WHERE id = 7")
    created, updated, deleted = captured(owner)
    assert [event["action"] for event in (created, updated, deleted)] == [
        "claim.created",
        "claim.updated",
        "claim.deleted",
    ]
    assert targets(created) == targets(updated) == targets(deleted) == ["claim:7"]
    assert json.dumps(changes(created), default=str) == '{"id": ["7"], "status": ["open"], "amount": ["1.50"]}'
    assert json.dumps(changes(updated), default=str) == '{"status": ["open", "paid"], "amount": ["1.50", "2.00"]}'
    assert json.dumps(changes(deleted), default=str) == '{"id": ["7"], "status": ["paid"], "amount": ["2.00"]}'
    assert run_worker_once(owner) == 4
    for (event,) in owner.execute("SELECT event FROM pgaudit.audit_log").fetchall():
        assert str(AuditEvent.from_log(event).id) == event["id"]
    assert owner.execute("SELECT bool_and(leaf_hash = pgaudit.leaf_hash(event)) FROM pgaudit.audit_log").fetchone() == (
        True,
    )


def test_truncate_is_captured_as_a_whole(owner: Connection, app: Connection) -> None:
    """Its target is the table."""
    owner.execute(ADD)
    app.execute("INSERT INTO claims (id) VALUES (7)")
    app.execute("TRUNCATE claims")
    truncated = captured(owner)[-1]
    assert (truncated["action"], targets(truncated)) == ("claim.truncated", ["table:public.claims"])


def test_statements_of_every_kind_are_captured(owner: Connection, app: Connection) -> None:
    """COPY, MERGE, an upsert, writing WITH queries, cascades: one event for each row."""
    owner.execute(ADD)
    owner.execute("""
        ALTER TABLE claims ADD FOREIGN KEY (parent) REFERENCES claims ON DELETE CASCADE ON UPDATE CASCADE;
        CREATE TABLE items (id int PRIMARY KEY, claim bigint REFERENCES claims ON DELETE SET NULL ON UPDATE CASCADE);
        GRANT ALL ON items TO claims_app; SELECT pgaudit.add_capture('items', 'item', '{id}')
    """)
    with app.cursor().copy("COPY claims (id, parent) FROM STDIN") as copy:
        copy.write("1\t\\N\n2\t1\n3\t2\n4\t\\N\n")
    app.execute("INSERT INTO items VALUES (1, 1), (2, 3), (3, 4)")
    app.execute("""
        MERGE INTO claims c USING (VALUES (4), (5)) v (id) ON c.id = v.id
        WHEN MATCHED THEN UPDATE SET note = 'merged' WHEN NOT MATCHED THEN INSERT (id, note) VALUES (v.id, 'new')
    """)
    app.execute("""
        WITH gone AS (DELETE FROM items WHERE id = 3 RETURNING claim)
        UPDATE claims SET note = 'x' FROM gone WHERE id = claim
    """)
    app.execute("INSERT INTO claims (id) VALUES (5), (6) ON CONFLICT (id) DO UPDATE SET note = 'upserted'")
    app.execute("UPDATE claims SET id = 10 WHERE id = 1")
    app.execute("DELETE FROM claims WHERE id = 10")
    told = sorted(f"{event['action'].rpartition('.')[2]} {' '.join(targets(event))}" for event in captured(owner, "%"))
    expected = """
        capture_added table:public.claims|capture_added table:public.items
        created claim:1|created claim:2|created claim:3|created claim:4|created claim:5|created claim:6
        created item:1|created item:2|created item:3
        deleted claim:10|deleted claim:2|deleted claim:3|deleted item:3
        updated claim:1 claim:10|updated claim:2|updated claim:4|updated claim:4|updated claim:5
        updated item:1|updated item:1|updated item:2
    """
    assert told == sorted(part for line in expected.split("\n") for part in line.strip().split("|") if part)


def test_a_capture_is_paused_resumed_and_removed(owner: Connection, app: Connection) -> None:
    """Each is an event itself."""
    owner.execute(ADD)
    assert owner.execute("SELECT pgaudit.pause_capture('claims', true)").fetchone() == (True,)
    app.execute("INSERT INTO claims (id) VALUES (1)")
    owner.execute("SELECT pgaudit.pause_capture('claims', false)")
    app.execute("INSERT INTO claims (id) VALUES (2)")
    assert owner.execute("SELECT pgaudit.remove_capture('claims')").fetchone() == (True,)
    assert owner.execute("SELECT pgaudit.remove_capture('claims')").fetchone() == (False,)
    app.execute("INSERT INTO claims (id) VALUES (3)")
    actions = [event["action"] for event in captured(owner, "%")]
    assert actions == [
        "audit.capture_added",
        "audit.capture_paused",
        "audit.capture_resumed",
        "claim.created",
        "audit.capture_removed",
    ]
    assert owner.execute("SELECT count(*) FROM pg_proc WHERE proname ~ '^capture_[0-9]'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("add_capture('claims', 'claim', '{}')", "the key has no column"),
        ("add_capture('claims', 'claim', '{number}')", "it has no column number; its columns are amount, doc, id"),
        ("add_capture('claims', 'claim', '{id}', masked => '{iban}')", "it has no column iban"),
        ("add_capture('claims', 'claim', '{NULL}')", "claims cannot be captured: it has no column NULL"),
        ("add_capture('claims', 'claim', '{id}', columns => '{NULL}')", "it has no column NULL"),
        ("add_capture('claims', 'claim', '{id}', excluded => '{NULL}')", "it has no column NULL"),
        ("add_capture('claims', 'claim', '{id}', masked => '{note,NULL}')", "it has no column NULL"),
        ("add_capture('claims', '', '{id}')", "the target type must have 1 to 100 characters"),
        ("add_capture('claims', 'Claim', '{id}')", "'Claim' cannot begin an action"),
        ("add_capture('pg_class', 'claim', '{oid}')", "not a table of the application"),
        ("add_capture('pgaudit.settings', 'claim', '{singleton}')", "not a table of the application"),
        ("add_capture('a_view', 'claim', '{id}')", "it is not a table"),
        ("add_guard('claims', 'claim', '{number}')", "claims cannot be guarded: it has no column number"),
        (
            "add_guard('claims', 'claim', '{id}', condition => 'x')",
            "claims cannot be guarded: the condition is not valid",
        ),
        ("add_guard('claims', 'claim', '{id}', 'warn', action => 'case')", "'case' is how captured actions begin, but"),
        ("add_guard('claims', 'claim', '{id}', 'ignore')", "on_missing must be abort, capture or warn"),
        ("""add_guard('claims', 'claim', '{id}', actions => '{"merge": "x"}')""", "merge: x is no pattern"),
        ("""add_guard('claims', 'claim', '{id}', actions => '{"update": "Claim%"}')""", "update: Claim% is no pattern"),
    ],
)
def test_what_cannot_be_captured_is_refused(owner: Connection, call: str, reason: str) -> None:
    """With a sentence that says why."""
    owner.execute("CREATE VIEW a_view AS SELECT * FROM claims")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=reason):
        owner.execute(f"SELECT pgaudit.{call}".encode())


def test_only_the_owner_adds_and_removes_captures(owner: Connection, app: Connection) -> None:
    """Other roles cannot change how a table is captured, or call the functions that record."""
    owner.execute(ADD)
    for statement in (
        ADD,
        "SELECT pgaudit.remove_capture('claims')",
        "SELECT pgaudit.pause_capture('claims', true)",
        "SELECT pgaudit.add_guard('claims', 'claim', '{id}')",
        "UPDATE pgaudit.captured_table SET excluded = '{status}'",
        "SELECT pgaudit.record_about_table('claim.updated', 'claims')",
        "SELECT pgaudit.record_contents('{}')",
        "INSERT INTO pgaudit.guarded_change (guard, operation, keys, new_keys) VALUES (1, 'insert', '{}', '{}')",
        'ALTER TABLE claims DISABLE TRIGGER "0_pgaudit_capture_insert"',
        'DROP TRIGGER "0_pgaudit_capture_insert" ON claims',
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement.encode())


def test_a_write_by_hand_is_refused_with_the_way_to_do_it(owned: str, owner: Connection, server: Server) -> None:
    """A write by hand by another role than the owner has the commands, and the owner's name, in its hint."""
    owner.execute(ADD)
    superuser = conninfo_to_dict(server.conninfo)["user"]
    with (
        psycopg.connect(make_conninfo(owned, user=superuser)) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="only its owner") as error,
    ):
        conn.execute("UPDATE pgaudit.captured_table SET excluded = '{status}'")
    hint = "Use the commands of pgaudit, such as pgaudit jobs and pgaudit capture, or SET ROLE claims_owner."
    assert error.value.diag.message_hint == hint
