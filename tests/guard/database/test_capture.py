"""What a captured event says, whoever changes a row, and in which way."""

import json
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent
from pgaudit.testing import run_worker_once
from tests.guard.database.replay import captured
from tests.support.queries import Connection

ADD = "SELECT pgaudit.add_capture('claims', 'claim', '{id}')"
CONTEXT = {"actor": {"type": "user", "id": "42", "name": "Ann"}, "tenant": "north", "context": {"request_id": "r-1"}}


def changes(event: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Returns what was before and after, by column."""
    return {
        change["path"]: tuple(change[side] for side in ("before", "after") if side in change)
        for change in event["changes"]
    }


def targets(event: dict[str, Any]) -> list[str]:
    """Returns the targets in short."""
    return [f"{target['type']}:{target['id']}" for target in event["targets"]]


def test_a_row_that_is_inserted_updated_and_deleted(owner: Connection, app: Connection) -> None:
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


def test_raw_sql_is_recorded_with_its_role(owner: Connection, app: Connection) -> None:
    """Nobody has said who it acts for: the server knows the role, the address and the name of the session."""
    owner.execute(ADD)
    app.execute("SET application_name = 'psql'")
    app.execute("INSERT INTO claims (id) VALUES (7)")
    owner.execute("SET ROLE claims_owner")
    (event,) = captured(owner)
    assert event["actor"] == {"type": "db_user", "id": "claims_app"}
    assert event["recorded_by"] == "claims_app"
    expected = {
        "source": "database",
        "session_user": "claims_app",
        "current_user": "claims_app",
        "application_name": "psql",
    }
    assert event["context"] == expected


def test_the_application_says_who_it_acts_for(owner: Connection, app: Connection) -> None:
    """For one transaction: the next knows nothing of it. That the application has said so is said, too."""
    owner.execute(ADD)
    with app.transaction():
        app.execute("SELECT set_config('audit.context', %s, true)", [json.dumps(CONTEXT)])
        app.execute("INSERT INTO claims (id) VALUES (7)")
    app.execute("INSERT INTO claims (id) VALUES (8)")
    first, second = captured(owner)
    assert first["actor"] == CONTEXT["actor"]
    assert first["tenant"] == "north"
    assert (first["context"]["request_id"], first["context"]["source"]) == ("r-1", "application")
    assert first["context"]["session_user"] == "claims_app"
    assert second["actor"] == {"type": "db_user", "id": "claims_app"}
    assert "tenant" not in second


@pytest.mark.parametrize(
    "forged",
    [
        "no JSON",
        "[]",
        '"text"',
        '{"actor": "user:42"}',
        '{"actor": {"type": "user"}}',
        '{"actor": {"type": "user", "id": ""}, "tenant": {}}',
        '{"actor": {"type": ["user"], "id": "1"}, "context": []}',
        '{"actor": {"type": "user", "id": "\\u0000"}}',
        '{"context": {"source": "database", "session_user": "postgres", "recorded_by": "postgres"}}',
        '{"actor": {"type": "user", "id": "' + "x" * 9000 + '"}}',
        '{"xid": "1", "recorded_at": "2000-01-01", "id": "1", "action": "claim.viewed"}',
    ],
)
def test_a_forged_setting_changes_nothing_that_the_server_knows(
    owner: Connection, app: Connection, forged: str
) -> None:
    """What cannot be understood is ignored; no field of the server can be set."""
    owner.execute(ADD)
    with app.transaction():
        app.execute("SELECT set_config('audit.context', %s, true)", [forged])
        app.execute("INSERT INTO claims (id) VALUES (7)")
    (event,) = captured(owner)
    assert event["actor"] == {"type": "db_user", "id": "claims_app"}
    assert (event["action"], event["recorded_by"]) == ("claim.created", "claims_app")
    assert (event["context"]["source"], event["context"]["session_user"]) == ("database", "claims_app")
    assert event["recorded_at"] > "2026"
    assert AuditEvent.from_log(json.loads(json.dumps(event, default=str)) | {"schema_version": 1, "changes": []})


def test_no_event_of_an_application_looks_like_a_captured_one(owner: Connection, app: Connection) -> None:
    """The field that marks captured events is reserved."""
    event = json.loads(AuditEvent(action="claim.updated", target="claim:7", actor="user:1").to_json())
    for context in ({"source": "database"}, {"source": None}):
        for extra in ({}, {"tenant": 7}, {"data": {"text": "x" * 5_000}}):
            with pytest.raises(psycopg.Error, match=r"reserved|tenant") as refused:
                app.execute("SELECT pgaudit.record(%s)", [json.dumps([event | {"context": context} | extra])])
            assert refused.value.sqlstate == "PA001"
    assert captured(owner) == []


def test_columns_are_chosen_excluded_and_masked(owner: Connection, app: Connection) -> None:
    """A change of excluded columns alone is no event; a masked value is not in the event, its change is."""
    owner.execute(
        "SELECT pgaudit.add_capture('claims', 'claim', '{id}', excluded => '{amount,doc}', masked => '{note}')"
    )
    app.execute("INSERT INTO claims (id, amount, note, doc) VALUES (7, 1, 'secret', '{}')")
    app.execute("UPDATE claims SET amount = 2, doc = '[]'")
    app.execute("UPDATE claims SET amount = 3, note = 'other secret'")
    app.execute("UPDATE claims SET note = NULL")
    created, updated, emptied = captured(owner)
    assert changes(created).keys() == {"id", "status", "note"}
    assert changes(updated) == changes(emptied) == {"note": ("***", "***")}
    assert "secret" not in json.dumps([created, updated, emptied], default=str)
    owner.execute(
        "SELECT pgaudit.add_capture('claims', 'claim', '{id}', columns => '{status}', action => 'insurance.claim')"
    )
    app.execute("UPDATE claims SET amount = 4, status = 'paid'")
    (last,) = captured(owner, "insurance.%")
    assert (last["action"], changes(last)) == ("insurance.claim.updated", {"status": ("open", "paid")})


def test_updates_are_captured_on_a_condition(owner: Connection, app: Connection) -> None:
    """Rows are inserted and deleted on none."""
    owner.execute(
        "SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => 'new.status IS DISTINCT FROM old.status')"
    )
    app.execute("INSERT INTO claims (id) VALUES (7), (8)")
    app.execute("UPDATE claims SET note = 'x'")
    app.execute("UPDATE claims SET status = 'paid', note = 'y' WHERE id = 7")
    app.execute("DELETE FROM claims WHERE id = 8")
    verbs = [event["action"].rpartition(".")[2] for event in captured(owner)]
    assert verbs == ["created", "created", "updated", "deleted"]


def test_keys_of_several_columns_and_keys_that_change(owner: Connection, app: Connection) -> None:
    """The values are joined with commas, and escaped where they have one. An event of a changed key has both."""
    owner.execute("""
        CREATE TABLE cover (policy text, number int, "when" timestamptz, PRIMARY KEY (policy, number));
        GRANT ALL ON cover TO claims_app; SELECT pgaudit.add_capture('cover', 'cover', '{policy,number}')
    """)
    app.execute("INSERT INTO cover VALUES ('a', 1), ('a,1', 2), ('!', 3), ('', 4)")
    app.execute("UPDATE cover SET number = 9 WHERE number = 1")
    *inserted, moved = captured(owner, "cover.%")
    assert [targets(event) for event in inserted] == [["cover:a,1"], ["cover:a!,1,2"], ["cover:!!,3"], ["cover:,4"]]
    assert targets(moved) == ["cover:a,1", "cover:a,9"]
    assert moved["targets"][1]["role"] == "new"


def test_any_text_can_be_a_key(owner: Connection, app: Connection) -> None:
    """An id has 1 to 500 characters: an empty one is written as two quotes, a long one ends with its hash."""
    owner.execute("""
        CREATE TABLE codes (code text UNIQUE); GRANT ALL ON codes TO claims_app;
        SELECT pgaudit.add_capture('codes', 'code', '{code}')
    """)
    app.execute(
        "INSERT INTO codes VALUES (''), (NULL), (repeat('ä', 500)), (repeat('ä', 501)), (repeat('ä', 501) || 'x')"
    )
    ids = [event["targets"][0]["id"] for event in captured(owner, "code.%")]
    assert ids[:3] == ['""', "NULL", "ä" * 500]
    assert len(set(ids)) == 5
    assert max(map(len, ids)) == 500
    assert run_worker_once(owner) == 6


def test_values_that_no_event_can_hold(owner: Connection, app: Connection) -> None:
    """The change is never refused: the value is text then, or its size and hash where it is too large."""
    owner.execute(ADD)
    for doc in (
        '{"a": "\\u0000"}',
        '{"a": 1e400000}',
        '{"_sd": []}',
        '{"x": {"...": 1}}',
        "[" * 70 + "]" * 70,
        '"\\ud800"',
    ):
        app.execute("INSERT INTO claims (id, doc) VALUES (7, %s)", [doc])
        app.execute("DELETE FROM claims")
        created, deleted = captured(owner)[-2:]
        assert changes(created)["doc"] == changes(deleted)["doc"] == (doc,)
    app.execute("INSERT INTO claims (id, note, tenant) VALUES (7, repeat('a', 200000), %s)", ["ä" * 60_000])
    app.execute("UPDATE claims SET note = repeat('b', 30000), tenant = repeat('c', 30000)")
    created, updated = captured(owner)[-2:]
    assert changes(created)["note"][0]["bytes"] == 200_000
    assert changes(created)["tenant"][0] == {
        "omitted": True,
        "bytes": 120_000,
        "sha256": sha256_of(owner, "ä" * 60_000),
    }
    omitted = [path for path, (_, after) in changes(updated).items() if isinstance(after, dict)]
    assert len(omitted) == 1
    assert owner.execute("SELECT max(event_bytes) < 49152 FROM pgaudit.audit_jobs").fetchone() == (True,)
    assert run_worker_once(owner) == 15


def sha256_of(conn: Connection, text: str) -> str:
    """Returns the hash of a text in UTF-8."""
    (found,) = conn.execute("SELECT encode(sha256(convert_to(%s, 'UTF8')), 'hex')", [text]).fetchone() or ("",)
    return str(found)


def test_truncate_is_captured_as_a_whole(owner: Connection, app: Connection) -> None:
    """Its target is the table."""
    owner.execute(ADD)
    app.execute("INSERT INTO claims (id) VALUES (7)")
    app.execute("TRUNCATE claims")
    truncated = captured(owner)[-1]
    assert (truncated["action"], targets(truncated)) == ("claim.truncated", ["table:public.claims"])


def test_statements_of_every_kind(owner: Connection, app: Connection) -> None:
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
        ("add_capture('claims', '', '{id}')", "the target type must have 1 to 100 characters"),
        ("add_capture('claims', 'Claim', '{id}')", "'Claim' cannot begin an action"),
        ("add_capture('pg_class', 'claim', '{oid}')", "not a table of the application"),
        ("add_capture('pgaudit.settings', 'claim', '{singleton}')", "not a table of the application"),
        ("add_capture('a_view', 'claim', '{id}')", "it is not a table"),
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


def test_nobody_but_the_owner_adds_and_removes(owner: Connection, app: Connection) -> None:
    """And nobody changes how a table is captured, or calls the functions that record."""
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


def test_a_cast_that_a_user_has_made_is_not_called(owner: Connection, app: Connection) -> None:
    """Triggers run with the rights of the schema's owner: a type's owner could have code run with them."""
    app.execute("""
        CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE place AS (street text);
        CREATE FUNCTION spy(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'called by %', current_user; END $$;
        CREATE FUNCTION spy_text(mood) RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'called by %', current_user; END $$;
        CREATE CAST (mood AS json) WITH FUNCTION spy(mood); CREATE CAST (mood AS text) WITH FUNCTION spy_text(mood)
    """)
    owner.execute("""
        CREATE TABLE days (day mood PRIMARY KEY, moods mood[], at place); GRANT ALL ON days TO claims_app;
        SELECT pgaudit.add_capture('days', 'day', '{day}'); SELECT pgaudit.add_guard('days', 'day', '{day}', 'capture')
    """)
    app.execute("INSERT INTO days VALUES ('sad', '{ok,sad}', ROW('a'))")
    app.execute("ALTER TYPE place ADD ATTRIBUTE mood mood")
    app.execute("UPDATE days SET moods = NULL, at = ROW('b', 'ok')")
    created, _, updated, _ = captured(owner, "day.%")
    assert changes(created) == {"day": ("sad",), "moods": ("{ok,sad}",), "at": ({"street": "a"},)}
    assert changes(updated) == {"moods": ("{ok,sad}", None), "at": ("(a,)", "(b,ok)")}
