"""Tables that somebody dropped, detached, renamed or rebuilt without a thought for their captures."""

import psycopg
import pytest

from tests.guard.database.replay import captured
from tests.support.queries import Connection

ADD = "SELECT pgaudit.add_capture('{0}', 'claim', '{{id}}'), pgaudit.add_guard('{0}', 'claim', '{{id}}', 'capture')"
REMOVE = "SELECT pgaudit.remove_capture('{0}'), pgaudit.remove_guard('{0}')"
GENERATED = r"SELECT proname FROM pg_proc WHERE proname ~ '^(capture|guard)_\d+$'"
PARTITIONED = """
    CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    GRANT ALL ON parted, parted_1 TO claims_app
"""


def tend(conn: Connection) -> None:
    """Does what a worker does each minute."""
    conn.execute("SELECT pgaudit.tend_captures()")


def problems(conn: Connection) -> list[str]:
    """Returns what is wrong with captured and guarded tables."""
    return [problem for (problem,) in conn.execute("SELECT problem FROM pgaudit.capture_problems()").fetchall()]


def test_what_is_left_of_a_dropped_table_is_removed_and_recorded(owner: Connection) -> None:
    """Its number may belong to another table after a restore."""
    owner.execute("CREATE TABLE kept (id int PRIMARY KEY)")
    owner.execute(f"{ADD.format('claims')}; {ADD.format('kept')}".encode())
    ((number,),) = owner.execute("SELECT 'claims'::regclass::oid::text").fetchall()
    owner.execute("DROP TABLE claims")
    tend(owner)
    left = (
        "SELECT relation::text FROM pgaudit.captured_table UNION ALL SELECT relation::text FROM pgaudit.guarded_table"
    )
    assert owner.execute(left).fetchall() == [("kept",), ("kept",)]
    assert len(owner.execute(GENERATED).fetchall()) == 2
    removed = captured(owner, "audit.%_removed")
    assert [event["action"] for event in removed] == ["audit.capture_removed", "audit.guard_removed"]
    assert removed[0]["targets"] == [{"type": "table", "id": number}]
    assert removed[0]["data"] == {"reason": "the table was dropped", "target_type": "claim"}


def test_a_new_partition_gets_its_trigger_of_truncate(owner: Connection, app: Connection) -> None:
    """From the next round of a worker; not before a lock on it is released."""
    owner.execute(PARTITIONED)
    owner.execute(ADD.format("parted").encode())
    owner.execute(
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20); GRANT ALL ON parted_2 TO claims_app"
    )
    assert problems(owner) == [
        f"has no trigger: 0_pgaudit_{each}_truncate on public.parted_2" for each in ("capture", "guard")
    ]
    with app.transaction():
        app.execute("INSERT INTO parted_2 VALUES (11)")
        tend(owner)
    assert len(problems(owner)) == 2
    tend(owner)
    assert problems(owner) == []
    app.execute("TRUNCATE parted_2")
    assert captured(owner)[-1]["targets"] == [{"type": "table", "id": "public.parted_2"}]


def test_a_detached_partition_keeps_no_capture_alive(owner: Connection, app: Connection) -> None:
    """It keeps the trigger of TRUNCATE, which PostgreSQL does not drop."""
    owner.execute(PARTITIONED)
    owner.execute(ADD.format("parted").encode())
    owner.execute("ALTER TABLE parted DETACH PARTITION parted_1")
    owner.execute(REMOVE.format("parted").encode())
    assert owner.execute(GENERATED).fetchall() == []
    app.execute("TRUNCATE parted_1")
    assert captured(owner) == []


def test_a_renamed_trigger_does_not_record_twice(owner: Connection, app: Connection) -> None:
    """Renewing replaces it, and removing does not fail because of it."""
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    rename = 'ALTER TRIGGER "0_pgaudit_capture_insert" ON claims RENAME TO "mine"'
    owner.execute(f"{rename}; SELECT pgaudit.renew_capture('claims')".encode())
    app.execute("INSERT INTO claims (id) VALUES (1)")
    assert len(captured(owner)) == 1
    owner.execute(f"{rename}; SELECT pgaudit.remove_capture('claims')".encode())
    assert owner.execute(GENERATED).fetchall() == []


def test_one_event_is_enough_for_the_truncate_of_all_partitions(owner: Connection, app: Connection) -> None:
    """Each partition fires its own trigger."""
    owner.execute(PARTITIONED)
    owner.execute("SELECT pgaudit.add_guard('parted', 'claim', '{id}')")
    with pytest.raises(psycopg.Error, match=r"TRUNCATE of public\.parted without an audit event"):
        app.execute("TRUNCATE parted")
    event = """[{"id": "01a21b17-9129-7b47-ad91-29391932d796", "action": "claim.truncated", "outcome": "success",
                 "occurred_at": "2026-11-27T10:00:00Z", "targets": [{"type": "table", "id": "public.parted"}]}]"""
    with app.transaction():
        app.execute("SELECT pgaudit.record(%s)", [event])
        app.execute("TRUNCATE parted")


def test_a_condition_follows_a_renamed_column(owner: Connection, app: Connection) -> None:
    """Through renewals and further names; a new column of the old name is another one."""
    owner.execute("""
        INSERT INTO claims (id, amount) VALUES (1, 0);
        SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => 'new.status <> old.status');
        ALTER TABLE claims RENAME status TO state
    """)
    app.execute("UPDATE claims SET state = 'a'; UPDATE claims SET amount = 1")
    owner.execute("ALTER TABLE claims RENAME state TO phase; SELECT pgaudit.renew_capture('claims')")
    owner.execute("ALTER TABLE claims ADD status text NOT NULL DEFAULT ''")
    app.execute("UPDATE claims SET phase = 'b'; UPDATE claims SET status = 'x'; UPDATE claims SET phase = 'c'")
    assert problems(owner) == []
    changed = [[change["path"] for change in event["changes"]] for event in captured(owner)]
    assert changed == [["state"], ["phase"], ["phase"]]


@pytest.mark.parametrize("option", ["masked", "excluded"])
def test_a_renamed_column_stays_hidden_when_another_takes_its_name(
    owner: Connection, app: Connection, option: str
) -> None:
    """As when a column is replaced in one migration. Neither is shown."""
    owner.execute("ALTER TABLE claims DROP parent")
    owner.execute(f"SELECT pgaudit.add_capture('claims', 'claim', '{{id}}', {option} => '{{note}}')".encode())
    owner.execute("ALTER TABLE claims RENAME note TO old_note; ALTER TABLE claims ADD note text")
    app.execute("INSERT INTO claims (id, note, old_note) VALUES (1, 'secret', 'secret')")
    app.execute("UPDATE claims SET note = 'secret 2', old_note = 'secret 3', status = 'x'")
    assert "secret" not in str(captured(owner))


def test_a_key_may_become_null(owner: Connection, app: Connection) -> None:
    """A function that was generated while it could not be."""
    owner.execute(ADD.format("claims").encode())
    owner.execute("ALTER TABLE claims DROP CONSTRAINT claims_pkey; ALTER TABLE claims ALTER id DROP NOT NULL")
    app.execute("INSERT INTO claims (note) VALUES ('x'); UPDATE claims SET note = 'y'")
    assert {event["targets"][0]["id"] for event in captured(owner)} == {"NULL"}


def test_a_virtual_column_is_no_key(owner: Connection) -> None:
    """Triggers do not see its value. Before PostgreSQL 18, generated columns are stored, and can be keys."""
    kind = "VIRTUAL" if owner.info.server_version >= 180000 else "STORED"
    owner.execute(f"ALTER TABLE claims ADD number bigint GENERATED ALWAYS AS (id * 2) {kind}".encode())
    if kind == "VIRTUAL":
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="a column of the key is virtual"):
            owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{number}')")
    else:
        owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{number}'); INSERT INTO claims (id) VALUES (2)")
        assert captured(owner)[0]["targets"] == [{"type": "claim", "id": "4"}]
