"""A captured event has the chosen columns, their values, and the key of the row."""

import hashlib
import json

import pytest

from pgaudit.testing import run_worker_once
from tests.guard.database.capturing import ADD, changes, targets
from tests.guard.database.replay import captured
from tests.support.queries import Connection


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


def test_updates_outside_the_condition_are_not_captured(owner: Connection, app: Connection) -> None:
    """Inserted and deleted rows are captured in any case."""
    owner.execute(
        "SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => 'new.status IS DISTINCT FROM old.status')"
    )
    app.execute("INSERT INTO claims (id) VALUES (7), (8)")
    app.execute("UPDATE claims SET note = 'x'")
    app.execute("UPDATE claims SET status = 'paid', note = 'y' WHERE id = 7")
    app.execute("DELETE FROM claims WHERE id = 8")
    verbs = [event["action"].rpartition(".")[2] for event in captured(owner)]
    assert verbs == ["created", "created", "updated", "deleted"]


def test_composite_and_changed_keys_are_targets(owner: Connection, app: Connection) -> None:
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


def test_values_that_no_event_can_hold_are_captured_as_text_or_hash(owner: Connection, app: Connection) -> None:
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
        "sha256": hashlib.sha256(("ä" * 60_000).encode()).hexdigest(),
    }
    omitted = [path for path, (_, after) in changes(updated).items() if isinstance(after, dict)]
    assert len(omitted) == 1
    assert owner.execute("SELECT max(event_bytes) < 49152 FROM pgaudit.audit_jobs").fetchone() == (True,)
    assert run_worker_once(owner) == 15


@pytest.mark.parametrize("rows", [1, 2])
def test_a_number_of_many_digits_is_captured_as_text(owner: Connection, app: Connection, rows: int) -> None:
    """Whether a statement changes one row or several."""
    owner.execute("ALTER TABLE claims ALTER amount TYPE numeric")
    owner.execute("INSERT INTO claims (id, amount) SELECT n, 1 FROM generate_series(1, %s) n", [rows])
    owner.execute(ADD)
    app.execute("UPDATE claims SET amount = 1e1000")
    app.execute("UPDATE claims SET amount = 1e-1000, note = repeat('a', 200000)")
    events = captured(owner)
    large, small = "1" + "0" * 1_000, "0." + "0" * 999 + "1"
    assert [changes(event)["amount"][1] for event in events] == [large] * rows + [small] * rows
    assert {changes(event)["note"][1]["bytes"] for event in events[rows:]} == {200_000}


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
    app.execute("UPDATE days SET day = 'ok', moods = '{sad}', at = NULL")  # by the adapted function
    created, _, updated, _, again, _ = captured(owner, "day.%")
    assert changes(created) == {"day": ("sad",), "moods": ("{ok,sad}",), "at": ({"street": "a"},)}
    assert changes(updated) == {"moods": ("{ok,sad}", None), "at": ("(a,)", "(b,ok)")}
    assert changes(again) == {"day": ("sad", "ok"), "moods": (None, "{sad}"), "at": ("(b,ok)", None)}
