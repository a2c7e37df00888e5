"""The text of ``audit.context``."""

import json

import psycopg
import pytest

from pgaudit import Actor
from pgaudit.recording.context import checked
from pgaudit.recording.setting import MAX_BYTES, constant, in_front_of, setting_of
from tests.support.queries import Connection

NASTY = "%s O'Neil \\ \" {x} :y $1 é 😀\x7f\n"
READ = "SELECT current_setting('audit.context', true)"


def test_it_has_actor_tenant_and_context_and_nothing_that_is_unset() -> None:
    """As the server reads it."""
    event = checked(Actor(type="user", id="42", name="Ada"), "acme", request_id="r-1")
    assert json.loads(setting_of(event)) == {
        "actor": {"type": "user", "id": "42", "name": "Ada"},
        "tenant": "acme",
        "context": {"request_id": "r-1"},
    }
    assert setting_of(checked()) == setting_of(checked(), explicit=True) == ""


@pytest.mark.parametrize("conforming", ["on", "off"])
@pytest.mark.parametrize("parameters", [None, ["7"]])
def test_any_text_arrives_in_front_of_any_statement(
    conn: Connection, conforming: str, parameters: list[str] | None
) -> None:
    """Neither placeholders nor quotes nor the server's settings change it."""
    conn.execute("SELECT set_config('standard_conforming_strings', %s, true)", [conforming])
    setting = setting_of(checked(f"user:{NASTY}", NASTY, user_agent=NASTY))
    assert setting.isascii()
    statement = in_front_of(READ + (" WHERE '7' = %s" if parameters else ""), setting)
    cursor = psycopg.ClientCursor(conn)
    cursor.execute(statement.encode(), parameters)
    assert cursor.nextset()
    assert cursor.fetchone() == (setting,)
    said = json.loads(setting)
    assert (said["actor"]["id"], said["tenant"], said["context"]["user_agent"]) == (NASTY, NASTY, NASTY)


def test_the_error_of_a_statement_does_not_quote_who_acts(conn: Connection) -> None:
    """Logs of errors get no personal data that they did not have before."""
    with pytest.raises(psycopg.errors.UndefinedTable) as caught:
        conn.execute(in_front_of("UPDATE nothing SET id = 1", setting_of(checked("user:ada"))).encode())
    assert "ada" not in str(caught.value)
    assert "UPDATE nothing" in str(caught.value)


def test_the_longest_parts_of_the_context_are_left_out_before_the_name_and_the_tenant() -> None:
    """A client that sends much cannot suppress the actor: the server ignores a setting of more than 8,000 bytes."""
    event = checked(f"user:{'😀' * 500}", user_agent="😀" * 500, request_id="r-1")
    assert json.loads(setting_of(event))["context"] == {"request_id": "r-1"}
    actor = Actor(type="😀" * 100, id="😀" * 500, name="x" * 9_000, on_behalf_of="user:1")
    said = json.loads(setting_of(checked(actor, "t" * 500), explicit=True))
    assert said["actor"] == {"type": "😀" * 100, "id": "😀" * 500, "on_behalf_of": "user:1"}
    largest = setting_of(checked(actor, "😀" * 500, user_agent="x" * 9_000), explicit=True)
    assert json.loads(largest)["actor"] == {"type": "😀" * 100, "id": "😀" * 500}
    assert len(largest) <= MAX_BYTES


def test_the_server_takes_the_longest_setting(conn: Connection) -> None:
    """Its limit is ours; of each value it keeps 1,000 characters."""
    event = checked("user:42", user_agent="x" * 4_000, request_id="x" * 3_900)
    setting = setting_of(event)
    assert MAX_BYTES - 100 < len(setting) <= MAX_BYTES
    conn.execute(constant(setting).encode())
    (taken,) = conn.execute("SELECT pgaudit.context_of_application()").fetchone() or ({},)
    said = json.loads(setting)
    assert taken == said | {"context": {name: value[:1_000] for name, value in said["context"].items()}}
