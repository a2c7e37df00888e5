"""A transaction that changes a guarded row without an event for it does not commit."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.grants import grant
from tests.guard.database.guarding import UPDATE, paid, record, refused, statuses
from tests.support.queries import Connection


def test_the_error_names_table_key_and_remedy(guarded: Connection, owner: Connection) -> None:
    """The error has them as fields, too, and the transaction has changed nothing."""
    guarded.execute("UPDATE claims SET status = 'paid'")
    error = refused(guarded)
    assert str(error).splitlines()[0] == "public.claims: claim:7, claim:8 updated without an audit event"
    assert (error.diag.schema_name, error.diag.table_name) == ("public", "claims")
    assert str(error.diag.message_hint).startswith("Record a new event in the same transaction: audit.record(")
    assert 'AuditEvent(action="claim.…", target="claim:7")' in str(error.diag.message_hint)
    assert statuses(owner) == ["open", "open"]


@pytest.mark.parametrize("order", ["before", "after", "in a savepoint", "autonomous savepoints"])
def test_a_transaction_with_its_event_commits(guarded: Connection, owner: Connection, order: str) -> None:
    """Event and change may come in any order, and in savepoints."""
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
    """One event satisfies the guard for all rows that are among its targets."""
    guarded.execute("UPDATE claims SET status = 'paid'")
    guarded.execute("INSERT INTO claims (id) VALUES (9)")
    guarded.execute("DELETE FROM claims WHERE id = 8")
    record(guarded, AuditEvent(action="claim.merged", targets=("claim:7", "claim:8", "claim:9")))
    guarded.commit()


def test_a_statement_that_changes_nothing_needs_no_event(guarded: Connection) -> None:
    """An UPDATE to the same values, a change that is rolled back, rows that do not exist."""
    guarded.execute("UPDATE claims SET status = status")
    guarded.execute("DELETE FROM claims WHERE id = 99")
    with guarded.transaction(force_rollback=True):
        guarded.execute(UPDATE)
    guarded.commit()


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


def test_a_truncate_is_checked_at_once(guarded: Connection) -> None:
    """It needs an event for the table, before it."""
    with pytest.raises(psycopg.Error, match=r"TRUNCATE of public\.claims without an audit event") as error:
        guarded.execute("TRUNCATE claims")
    assert error.value.sqlstate == "PA002"
    assert error.value.diag.table_name == "claims"
    assert str(error.value.diag.message_hint).startswith("Record a new event before it, in the same transaction")
    assert 'action="claim.truncated", target="table:public.claims"' in str(error.value.diag.message_hint)
    guarded.rollback()
    record(guarded, AuditEvent(action="claim.truncated", target="table:public.claims"))
    guarded.execute("TRUNCATE claims")
    guarded.commit()


def test_rows_of_copy_and_of_cascades_need_an_event(guarded: Connection, owner: Connection) -> None:
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


def test_an_event_for_the_old_or_new_key_satisfies_the_guard(guarded: Connection) -> None:
    """An event for either is one for the row."""
    guarded.execute("UPDATE claims SET id = id + 10")
    record(guarded, paid("claim:7"), paid("claim:18"))
    guarded.commit()


def test_transactions_that_record_do_not_wait_for_each_other(guarded: Connection, owned: str) -> None:
    """No lock is shared: both have changed, and neither has committed."""
    with psycopg.connect(make_conninfo(owned, user="claims_app", options="-c lock_timeout=2s")) as other:
        for conn, target in ((guarded, 7), (other, 8)):
            conn.execute("UPDATE claims SET status = 'paid' WHERE id = %s", [target])
            record(conn, paid(f"claim:{target}"))
            conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        other.commit()
    guarded.commit()


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


def test_the_owner_cannot_write_notes_by_hand(owner: Connection) -> None:
    """Not even by the owner, from a function: the names of functions are looked for, not those of tables."""
    for change in (
        "DELETE FROM pgaudit.guarded_change",
        "INSERT INTO pgaudit.guarded_change VALUES (DEFAULT)",
        "DELETE FROM pgaudit.unrecorded_change",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit") as error:
            owner.execute(f"DO $$ BEGIN {change}; END $$".encode())
        assert str(error.value.diag.message_hint).startswith("Workers and triggers keep this table")
