"""Each attack on a sealed log, by its owner and by a superuser, is found by its name and place.

The numbers are those of the attacks that were seen to go unnoticed without sealing; 1 is refused (tests/database). What
happens to the queue is found by receipts (tests/sealing/reconcile), an older copy by the signer (test_copies.py).
"""

import pytest
from psycopg import sql

from tests.sealing.attacks.changes import (
    CUT,
    appended,
    closed_up,
    column,
    deleted,
    edited,
    forged,
    inserted,
    of_partition,
    reattached,
    recomputed,
    swapped,
)
from tests.sealing.attacks.sealed import SIZE, SUPERUSER, Found, Sealed
from tests.support.tampering import tamper

DETACH = "ALTER TABLE pgaudit.audit_log DETACH PARTITION {0}"
REWRITE = """ALTER TABLE pgaudit.audit_log ALTER COLUMN event TYPE jsonb
             USING CASE WHEN index = 500 THEN event || '{"reason": "forged"}' ELSE event END"""
OF_600 = "(SELECT note FROM pgaudit.checkpoint WHERE size = 600)"
# The checkpoint of all 1,100 events, after one of 600, is not kept: behind the tiles it alone says where.
BROKEN = ("altered", 600)
GUARD = ("guard_disabled", None)

# With all triggers off, which are as before afterwards.
BEHIND_THE_TRIGGERS: dict[str, tuple[list[str], Found]] = {
    "2 an edited event, the first": (edited(0), [("altered", 0)]),
    "2 an edited event": (edited(300), [("altered", 300)]),
    "2 an edited event, behind the tiles": (edited(1_099), [("altered", 1_099), BROKEN]),
    "3 an edited event with a new hash": (recomputed(300), [("altered", 300)]),
    "3 an edited event with a new hash, at the end of the tiles": (recomputed(1_023), [("altered", 1_023)]),
    "3 an edited event with a new hash, behind the tiles": (recomputed(1_099), [BROKEN]),
    "4 outcome": (column("outcome", "'denied'"), [("column_drift", 700)]),
    "4 tenant": (column("tenant", "'south'"), [("column_drift", 700)]),
    "4 actor_type": (column("actor_type", "'robot'"), [("column_drift", 700)]),
    "4 target_type": (column("target_type", "'policy'"), [("column_drift", 700)]),
    "4 target_id": (column("target_id", "'8'"), [("column_drift", 700)]),
    "4 recorded_at": (column("recorded_at", "recorded_at - interval '1 day'"), [("column_drift", 700)]),
    "4 occurred_at": (column("occurred_at", "occurred_at - interval '1 second'"), [("column_drift", 700)]),
    "4 event_id": (column("event_id", "'00000000-0000-7000-8000-000000000000'"), [("column_drift", 700)]),
    # It is no part of the event: docs/concepts/guarantees.md says so.
    "4 persisted_at": (column("persisted_at", "persisted_at - interval '1 day'"), []),
    "5 deleted events": (deleted(400, 401, 900), [("missing", 400), ("missing", 900)]),
    "5 a deleted event, behind the tiles": (deleted(1_050), [("missing", 1_050), BROKEN]),
    "6 a deleted event, with later ones moved up": (closed_up(400), [("missing", 400), ("truncated", SIZE - 1)]),
    "7 a cut tail": (CUT, [("truncated", 600), ("truncated", 600)]),
    "8 two swapped events, side by side": (swapped(300, 301), [("reordered", 300), ("reordered", 301)]),
    "8 two swapped events, far apart": (swapped(10, 900), [("reordered", 10), ("reordered", 900)]),
    "9 an inserted event, with later ones moved": (inserted(400), [("inserted", 400), BROKEN]),
    "12 a dropped partition": (of_partition(256, "DROP TABLE {0}"), [("missing", 256), GUARD]),
    "12 a dropped partition, the first": (of_partition(0, "DROP TABLE {0}"), [("missing", 0)]),
    "12 a dropped partition, the last": (of_partition(1_024, "DROP TABLE {0}"), [("missing", 1_024), BROKEN]),
    "13 a partition that was edited while detached": (reattached(512), [("altered", 512)]),
    "25 a row that no worker appended": ([forged(SIZE)], [("inserted", SIZE)]),
    # It will be signed like any other: only receipts tell (tests/sealing/reconcile/test_attacks.py).
    "25 a row and a batch, as a worker appends them": (appended(SIZE), []),
    "a tile with another leaf": (
        ["UPDATE pgaudit.tile SET hashes = overlay(hashes placing sha256('') from 1) WHERE number = 2"],
        [("altered", 512), ("altered", 300), ("altered", 512), ("altered", 300)],
    ),
    "a tile with another root": (["UPDATE pgaudit.tile SET root = sha256('') WHERE number = 2"], [("altered", 512)]),
    "a deleted tile": (["DELETE FROM pgaudit.tile WHERE number = 2"], [("missing", 512)]),
    "a checkpoint under another size": (
        [f"UPDATE pgaudit.checkpoint SET note = {OF_600} WHERE size = 1100"],
        [("unsigned", SIZE)],
    ),
    "a checkpoint with another root": (
        [
            """UPDATE pgaudit.checkpoint
                  SET note = regexp_replace(note, '\\n[^\\n]{43}=', E'\\n' || repeat('A', 43) || '=')"""
        ],
        [("unsigned", 300), ("unsigned", 600), ("unsigned", SIZE)],
    ),
}
# Without touching a trigger, or in place of one: the fingerprint of the schema has each.
OPENLY: dict[str, tuple[list[str], Found]] = {
    "10 a rewritten column type": ([REWRITE], [("altered", 500)]),
    "11 a detached partition": (of_partition(256, DETACH), [("missing", 256), GUARD]),
    "16 a function that drops events": (
        [
            """CREATE OR REPLACE FUNCTION pgaudit.record(events jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
               SET search_path = pgaudit, pg_temp AS 'BEGIN END'"""
        ],
        [GUARD],
    ),
    "17 a trigger on the queue": (
        [
            "CREATE FUNCTION pgaudit.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            """CREATE TRIGGER swallow BEFORE INSERT ON pgaudit.audit_jobs
               FOR EACH ROW EXECUTE FUNCTION pgaudit.swallow()""",
        ],
        [GUARD, GUARD, GUARD],  # the trigger, its function, and that everybody may call it
    ),
    "18 a rule on the queue": (
        ["CREATE RULE swallow AS ON INSERT TO pgaudit.audit_jobs DO INSTEAD NOTHING"],
        [GUARD],
    ),
    "22 a queue that inherits from nothing": (
        ["ALTER TABLE pgaudit.audit_jobs NO INHERIT pgaudit.procrastinate_jobs"],
        [GUARD],
    ),
    "a trigger that is left off": (
        ["ALTER TABLE pgaudit.batch DISABLE TRIGGER ALL"],
        [GUARD],
    ),
    "I2 rights of everybody on a partition": (
        ["GRANT INSERT ON pgaudit.audit_log_1024 TO PUBLIC"],
        [GUARD],
    ),
    "I3 triggers that a restore of data has enabled": (
        ["ALTER TABLE pgaudit.audit_log_256 ENABLE TRIGGER USER"],
        [GUARD, GUARD, GUARD],  # all three of them
    ),
}


def test_a_clean_log_is_signed(log: Sealed) -> None:
    """Nothing is found, with an anchor or without."""
    assert log.found() == []
    assert log.found(log.newest) == []


@pytest.mark.parametrize("attack", BEHIND_THE_TRIGGERS)
def test_an_attack_behind_the_triggers(log: Sealed, attack: str) -> None:
    """It is found where it was made, and nothing else is."""
    statements, expected = BEHIND_THE_TRIGGERS[attack]
    tamper(log.conn, *statements)
    assert log.found() == expected


@pytest.mark.parametrize("attack", OPENLY)
def test_an_attack_that_leaves_the_triggers_alone(log: Sealed, attack: str) -> None:
    """It is found, whether in the log or in the schema."""
    statements, expected = OPENLY[attack]
    for statement in statements:
        log.conn.execute(sql.SQL(statement))
    assert log.found() == expected


# The text of the edited event is that of the original one, for every statement with event::text.
CAST = (
    "CREATE TABLE public.original AS SELECT event FROM pgaudit.audit_log WHERE index = 300",
    """CREATE FUNCTION public.as_it_was(event jsonb) RETURNS text LANGUAGE sql STABLE AS $$
           SELECT textin(jsonb_out(coalesce((SELECT o.event FROM public.original o
                                              WHERE o.event->'id' = as_it_was.event->'id'), event))) $$""",
    "CREATE CAST (jsonb AS text) WITH FUNCTION public.as_it_was(jsonb)",
)


@pytest.mark.parametrize("log", [SUPERUSER], indirect=True)
def test_a_cast_that_shows_what_was_sealed(log: Sealed) -> None:
    """A superuser replaces how an event becomes text, and then edits it."""
    tamper(log.conn, *CAST, *edited(300))
    text = "SELECT event::text LIKE '%%forged%%', event->>'reason' FROM pgaudit.audit_log WHERE index = 300"
    assert log.conn.execute(text).fetchall() == [(False, "forged")]
    assert log.found() == [("altered", 300)]
