"""A change that both an ORM and a trigger see is recorded once."""

import json

import psycopg
import pytest

from pgaudit import AuditEvent
from tests.guard.database.replay import captured
from tests.support.queries import Connection

RECORD = "SELECT pgaudit.record_uncaptured(%s)"


def change(operation: str, table: str = "public.claims") -> dict[str, object]:
    """Returns what an ORM has seen."""
    event = AuditEvent(action=f"claim.{operation}d_by_orm", target="claim:7")
    return {"table": table, "operation": operation, "event": json.loads(event.to_json())}


def test_only_what_no_trigger_captures_is_recorded(owner: Connection, app: Connection) -> None:
    """By table and operation: a paused capture, and a trigger that is not there, capture nothing."""
    changes = json.dumps([change("insert"), change("update"), change("delete"), change("update", "public.items")])
    owner.execute("CREATE TABLE items (id int)")
    assert app.execute(RECORD, [changes]).fetchone() == (4,)
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    assert app.execute(RECORD, [changes]).fetchone() == (1,)
    owner.execute('DROP TRIGGER "0_pgaudit_capture_delete" ON claims')
    assert app.execute(RECORD, [changes]).fetchone() == (2,)
    owner.execute("SELECT pgaudit.pause_capture('claims', true)")
    assert app.execute(RECORD, [changes]).fetchone() == (4,)
    assert len(captured(owner, "%orm")) == 11


def test_nothing_to_record_is_no_error_and_an_invalid_event_is(owner: Connection, app: Connection) -> None:
    """As with record, its message names the field."""
    assert owner
    assert app.execute(RECORD, ["[]"]).fetchone() == (0,)
    wrong = change("insert") | {"event": {"action": "x"}}
    with pytest.raises(psycopg.Error, match="invalid audit event") as error:
        app.execute(RECORD, [json.dumps([wrong])])
    assert error.value.sqlstate == "PA001"
