"""Tables that change their columns, have partitions or children, or are written to while they change."""

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import psycopg
import pytest

from tests.guard.database.replay import actual, assert_replayed, captured, replayed
from tests.support.queries import Connection

ADD = "SELECT pgaudit.add_capture('claims', 'claim', '{id}', masked => '{note}', excluded => '{doc}')"
FUNCTION = "SELECT prosrc FROM pg_proc WHERE proname LIKE 'capture_%' AND proname ~ '[0-9]$'"


def paths(event: dict[str, Any]) -> set[str]:
    """Returns the names of the columns that an event has."""
    return {change["path"] for change in event["changes"]}


def test_renamed_added_and_dropped_columns_are_followed(owner: Connection, app: Connection) -> None:
    """The table need not be added again; masked and excluded columns stay so under their new names."""
    owner.execute(ADD)
    before = owner.execute(FUNCTION).fetchall()
    app.execute("INSERT INTO claims (id, note, doc) VALUES (7, 'secret', '{}')")
    owner.execute("""
        ALTER TABLE claims RENAME note TO remark; ALTER TABLE claims RENAME doc TO document;
        ALTER TABLE claims RENAME id TO number;
        ALTER TABLE claims ADD extra int; ALTER TABLE claims DROP amount; ALTER TABLE claims ALTER parent TYPE text;
        ALTER TABLE claims RENAME TO insurance_claims
    """)
    app.execute("UPDATE insurance_claims SET remark = 'secret', document = '[]', extra = 1, parent = 'x'")
    app.execute("UPDATE insurance_claims SET remark = 'hidden', document = '{}', extra = 2, parent = 'y'")
    created, updated, again = captured(owner)
    assert paths(created) == {"id", "status", "note"}
    assert paths(updated) == {"extra", "parent"}
    assert paths(again) == {"remark", "extra", "parent"}
    assert "hidden" not in str(again)
    assert owner.execute(FUNCTION).fetchall() != before
    assert owner.execute("SELECT key_columns, excluded, masked FROM pgaudit.captured_table").fetchone() == (
        ["number"],
        ["document"],
        ["remark"],
    )
    assert len(captured(owner, "audit.columns_changed")) == 1


def test_columns_may_change_in_the_transaction_that_writes(owner: Connection) -> None:
    """As in a migration; after a rollback everything is as before."""
    owner.execute(ADD)
    owner.execute("INSERT INTO claims (id) VALUES (7)")
    with owner.transaction(force_rollback=True):
        owner.execute("ALTER TABLE claims RENAME status TO state; UPDATE claims SET state = 'paid'")
        assert paths(captured(owner)[-1]) == {"state"}
    owner.execute("UPDATE claims SET status = 'paid'")
    assert paths(captured(owner)[-1]) == {"status"}


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_with_an_older_snapshot_than_the_columns_has_to_be_repeated(
    owner: Connection, app: Connection, isolation: str
) -> None:
    """Its snapshot does not have the present columns, so it fails with a serialization failure."""
    owner.execute(ADD)
    owner.execute("INSERT INTO claims (id) VALUES (7)")
    app.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
    app.execute("SELECT 1 FROM pg_class LIMIT 1")
    owner.execute("ALTER TABLE claims RENAME status TO state")
    owner.execute("INSERT INTO claims (id) VALUES (8)")
    app.execute("UPDATE claims SET state = 'paid' WHERE id = 99")
    with pytest.raises(psycopg.errors.SerializationFailure, match=r"the columns of public\.claims have changed"):
        app.execute("UPDATE claims SET state = 'paid' WHERE id = 7")
    app.execute("ROLLBACK")
    with app.transaction():
        app.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        app.execute("UPDATE claims SET state = 'paid' WHERE id = 7")
    assert paths(captured(owner)[-1]) == {"state"}


def test_a_key_column_that_was_dropped_is_named(owner: Connection) -> None:
    """No target could name the row, so the change fails with a hint at the remedy."""
    owner.execute(ADD)
    owner.execute("ALTER TABLE claims DROP id")
    with pytest.raises(
        psycopg.errors.UndefinedColumn, match=r"a key column of the table public\.claims no longer exists"
    ):
        owner.execute("INSERT INTO claims (status) VALUES ('open')")


def test_partitions_are_captured_whichever_table_is_named(owner: Connection) -> None:
    """Those that are created or attached later, too; a row that moves is deleted and created."""
    owner.execute("""
        CREATE TABLE parts (id int, part int, note text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
        CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
        SELECT pgaudit.add_capture('parts', 'part', '{id}');
        CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY RANGE (id);
        CREATE TABLE part_2_1 PARTITION OF part_2 DEFAULT;
        CREATE TABLE part_3 (note text, gone int, part int NOT NULL, id int NOT NULL); ALTER TABLE part_3 DROP gone;
        ALTER TABLE parts ATTACH PARTITION part_3 FOR VALUES IN (3);
        INSERT INTO parts VALUES (1, 1), (2, 2), (3, 3); INSERT INTO part_2 VALUES (4, 2);
        INSERT INTO part_3 VALUES ('x', 3, 5);
        UPDATE part_3 SET note = 'y'; UPDATE parts SET part = 2 WHERE id = 1; DELETE FROM part_2_1 WHERE id = 2;
        TRUNCATE part_1
    """)
    query = "SELECT id::text, to_jsonb(p)::text FROM parts p"
    events = captured(owner, "part.%")
    assert replayed(events[:-1]) == actual(owner, query)
    assert [event["action"].rpartition(".")[2] for event in events] == [
        *["created"] * 5,
        *["updated"] * 2,
        "deleted",
        "created",
        "deleted",
        "truncated",
    ]
    assert events[-1]["targets"] == [{"type": "table", "id": "public.part_1"}]
    owner.execute("SELECT pgaudit.pause_capture('parts', true); TRUNCATE part_1; INSERT INTO part_3 VALUES ('z', 3, 9)")
    owner.execute("SELECT pgaudit.remove_capture('parts'); TRUNCATE part_1; INSERT INTO part_3 VALUES ('z', 3, 10)")
    assert captured(owner, "part.%") == events


def test_children_are_captured_with_their_own_columns(owner: Connection) -> None:
    """Whichever table a statement names."""
    owner.execute("""
        CREATE TABLE old_claims (archived_by text, UNIQUE (id)) INHERITS (claims);
        SELECT pgaudit.add_capture('claims', 'claim', '{id}');
        INSERT INTO claims (id) VALUES (1); INSERT INTO old_claims (id, archived_by) VALUES (2, 'ann');
        UPDATE claims SET note = 'x'; UPDATE old_claims SET archived_by = 'bob'; DELETE FROM claims WHERE id = 1;
        INSERT INTO old_claims (id, archived_by) VALUES (3, 'cy'); DELETE FROM claims WHERE id = 3
    """)
    query = """
        SELECT id::text, to_jsonb(c)::text FROM old_claims c
        UNION ALL SELECT id::text, to_jsonb(c)::text FROM ONLY claims c
    """
    events = captured(owner)
    assert replayed(events) == actual(owner, query)
    assert len(events) == 8
    owner.execute("SELECT pgaudit.remove_capture('claims')")
    owner.execute("INSERT INTO old_claims (id) VALUES (3)")
    assert captured(owner) == events


def test_guards_see_partitions_children_and_renamed_keys(owner: Connection) -> None:
    """A guard follows partitions, children and renamed columns as a capture does."""
    owner.execute("""
        CREATE TABLE parts (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
        CREATE TABLE part_1 PARTITION OF parts DEFAULT; CREATE TABLE old_claims () INHERITS (claims);
        SELECT pgaudit.add_guard('parts', 'part', '{id}'); SELECT pgaudit.add_guard('claims', 'claim', '{id}');
        ALTER TABLE parts RENAME id TO number
    """)
    for statement, found in (
        ("INSERT INTO parts VALUES (1)", "part:1 inserted"),
        ("INSERT INTO part_1 VALUES (2)", "part:2 inserted"),
        ("INSERT INTO old_claims (id) VALUES (3)", "claim:3 inserted"),
    ):
        with pytest.raises(psycopg.Error, match=found):
            owner.execute(statement)


def test_a_replica_role_switches_nothing_off(owner: Connection, superuser: Connection) -> None:
    """session_replication_role, which a restore sets, skips ordinary triggers; not these."""
    owner.execute(ADD)
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("INSERT INTO claims (id) VALUES (7)")
    assert len(captured(owner)) == 1
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}')")
    with pytest.raises(psycopg.Error, match="claim:8 inserted"):
        superuser.execute("INSERT INTO claims (id) VALUES (8)")


def test_events_rebuild_rows_while_clients_write_and_columns_change(owned: str, owner: Connection) -> None:
    """Random changes, savepoints and rollbacks, while columns come and go: the events lead to the rows.

    A column that is dropped takes its values with it, so the last one is compared without it.
    """
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    stop = threading.Event()
    with ThreadPoolExecutor(13) as pool:
        clients = [pool.submit(change_at_random, owned, seed) for seed in range(12)]
        altering = pool.submit(alter_until, stop, owned)
        try:
            for client in clients:
                client.result(120)
        finally:
            stop.set()
        altering.result(60)
    assert len(captured(owner)) > 500
    owner.execute("ALTER TABLE claims DROP IF EXISTS extra")
    rebuilt = {
        key: {path: value for path, value in row.items() if path != "extra"}
        for key, row in replayed_with_dropped(captured(owner)).items()
    }
    assert rebuilt == actual(owner)


def replayed_with_dropped(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the rows that result from the events, of which the changes of ``extra`` are left out."""
    for event in events:
        event["changes"] = [change for change in event["changes"] if change["path"] != "extra"]
    return replayed(events)


def alter_until(stop: threading.Event, dsn: str) -> None:
    """Adds and drops a column, again and again."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not stop.wait(0.05):
            conn.execute("ALTER TABLE claims ADD extra int")
            stop.wait(0.05)
            conn.execute("ALTER TABLE claims DROP extra")


def change_at_random(dsn: str, seed: int) -> None:
    """Changes claims in transactions that end in one way or the other."""
    random = Random(seed)
    with psycopg.connect(dsn) as conn:
        for _ in range(40):
            try:
                for _ in range(random.randint(1, 3)):
                    with conn.transaction(force_rollback=random.random() < 0.3):
                        conn.execute(statement_at_random(random).encode())
            except (
                psycopg.errors.UniqueViolation,
                psycopg.errors.DeadlockDetected,
                psycopg.errors.ForeignKeyViolation,
            ):
                conn.rollback()
                continue
            if random.random() < 0.2:
                conn.rollback()
            else:
                conn.commit()


def statement_at_random(random: Random) -> str:
    """Returns a statement that changes some claims."""
    claim = random.randint(1, 40)
    return random.choice(
        [
            f"INSERT INTO claims (id, note) VALUES ({claim}, 'n{claim}')",
            (
                f"INSERT INTO claims (id) SELECT generate_series({claim}, {claim + 5}) "
                f"ON CONFLICT (id) DO UPDATE SET status = 'up{claim}'"
            ),
            f"UPDATE claims SET amount = {random.randint(1, 99)} WHERE id BETWEEN {claim} AND {claim + 3}",
            f"UPDATE claims SET id = {claim + 100} WHERE id = {claim}",
            f"DELETE FROM claims WHERE id = {claim}",
        ]
    )


def test_each_row_of_a_bulk_change_has_an_event(owner: Connection) -> None:
    """A bulk change of many rows has one event for each."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    owner.execute("INSERT INTO claims (id, amount) SELECT i, i FROM generate_series(1, 3000) i")
    owner.execute("UPDATE claims SET amount = amount + 1 WHERE id % 2 = 0")
    owner.execute("DELETE FROM claims WHERE id > 2000")
    assert len(captured(owner)) == 3000 + 1500 + 1000
    assert_replayed(owner)
