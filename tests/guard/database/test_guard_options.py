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
