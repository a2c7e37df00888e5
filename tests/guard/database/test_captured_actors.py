"""A captured event says who has changed the row: the application's actor, or only the role."""

import json

import psycopg
import pytest

from pgaudit import AuditEvent
from tests.guard.database.capturing import ADD, CONTEXT
from tests.guard.database.replay import captured
from tests.support.queries import Connection


def test_raw_sql_is_recorded_with_its_role(owner: Connection, app: Connection) -> None:
    """Without audit.context, the actor is the role; address and application name are the session's."""
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


def test_the_actor_that_the_application_has_set_is_captured(owner: Connection, app: Connection) -> None:
    """The setting holds for one transaction, and context.source says that the application has set the actor."""
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
