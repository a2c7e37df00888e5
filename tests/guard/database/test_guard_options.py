"""What the options of a guard demand, and pausing and removing it."""

import pytest

from pgaudit import Change
from tests.guard.database.guarding import UPDATE, paid, record, refused
from tests.guard.database.replay import captured
from tests.support.queries import Connection


def test_a_guard_demands_the_action_of_the_operation(guarded: Connection, owner: Connection) -> None:
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


def test_a_guard_demands_the_present_values_of_the_row(guarded: Connection, owner: Connection) -> None:
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


@pytest.mark.parametrize("value", ["'***'", "NULL"])
def test_only_masked_columns_need_no_values(guarded: Connection, owner: Connection, value: str) -> None:
    """A value that looks like a mask is one that the event must have."""
    owner.execute("SELECT pgaudit.remove_guard('claims')")
    owner.execute("UPDATE claims SET note = %s", ["***" if value == "NULL" else "x"])
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', with_changes => true)")
    guarded.execute(f"UPDATE claims SET note = {value} WHERE id = 7".encode())
    record(guarded, paid())
    refused(guarded)


@pytest.mark.parametrize("given", ["now", "today", "2026-01-01"])
def test_a_time_is_said_as_a_time(guarded: Connection, owner: Connection, given: str) -> None:
    """PostgreSQL reads "now" as a time; a reader of the log cannot."""
    owner.execute("ALTER TABLE claims ADD at timestamptz")
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', with_changes => true)")
    guarded.execute("UPDATE claims SET at = %s WHERE id = 7", [given])
    record(guarded, paid(changes=[Change(path="at", after=given)]))
    if given == "2026-01-01":
        guarded.commit()
    else:
        refused(guarded)


@pytest.mark.parametrize("size", [30_000, 40_000])
def test_what_a_guard_notes_of_large_rows_stays_small(guarded: Connection, owner: Connection, size: int) -> None:
    """An array of 10,000 notes must fit into a gigabyte; the values are compared by their hashes."""
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', with_changes => true)")
    with owner.transaction(force_rollback=True):
        owner.execute("UPDATE claims SET note = repeat('a', 90000), tenant = repeat('b', 90000)")
        largest = "SELECT max(octet_length(event)) FROM pgaudit.guarded_change, unnest(events) event"
        ((noted,),) = owner.execute(largest).fetchall()
    assert noted < 50_000
    for before, after in (("x", "a"), ("a", "b")):
        guarded.execute("UPDATE claims SET note = repeat(%s, %s) WHERE id = 7", [after, size])
        record(guarded, paid(changes=[Change(path="note", after=before * size)]))
        refused(guarded)
        guarded.execute("UPDATE claims SET note = repeat(%s, %s) WHERE id = 7", [after, size])
        record(guarded, paid(changes=[Change(path="note", after=after * size)]))
        guarded.commit()


def test_a_missing_event_is_captured(guarded: Connection, owner: Connection) -> None:
    """Only rows without an event of the application are captured."""
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
    """With transaction and role; the client gets a warning, and a hint at the remedy."""
    owner.execute("SELECT pgaudit.add_guard('claims', 'claim', '{id}', 'warn')")
    warnings: list[str | None] = []
    hints: list[str | None] = []
    guarded.add_notice_handler(lambda diagnostic: warnings.append(diagnostic.message_primary))
    guarded.add_notice_handler(lambda diagnostic: hints.append(diagnostic.message_hint))
    guarded.execute("UPDATE claims SET status = 'paid'")
    guarded.execute("INSERT INTO claims (id) VALUES (9)")
    guarded.commit()
    guarded.execute("TRUNCATE claims")
    guarded.rollback()
    noted = "SELECT relation::text, operation, count, targets, recorded_by FROM pgaudit.unrecorded_change ORDER BY 2"
    assert owner.execute(noted).fetchall() == [
        ("claims", "insert", 1, ["claim:9"], "claims_app"),
        ("claims", "update", 2, ["claim:7", "claim:8"], "claims_app"),
    ]
    assert sorted(map(str, warnings)) == [
        "TRUNCATE of public.claims without an audit event",
        "public.claims: claim:7, claim:8 updated without an audit event",
        "public.claims: claim:9 inserted without an audit event",
    ]
    assert all(str(hint).startswith("Record a new event") for hint in hints)


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
