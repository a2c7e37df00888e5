"""What roles that own a type or a table, or a mere setting, try against the triggers that run as the schema's owner."""

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from tests.guard.database.replay import captured
from tests.support.queries import Connection

ADD = "SELECT pgaudit.add_capture('claims', 'claim', '{id}')"
MOOD = """
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE FUNCTION spy(mood) RETURNS {0} LANGUAGE plpgsql AS $$ BEGIN RAISE 'called by %', current_user; END $$;
    CREATE CAST (mood AS {0}) WITH FUNCTION spy(mood) AS IMPLICIT
"""


@pytest.fixture
def member(owner: Connection, superuser: Connection) -> Iterator[Connection]:
    """The owner of the schema, as a member of the application's role, which owns tables."""
    superuser.execute("GRANT claims_app TO claims_owner")
    yield owner
    superuser.execute("REVOKE claims_app FROM claims_owner")


@pytest.mark.parametrize("purpose", ["capture", "guard"])
@pytest.mark.parametrize("level", ["", "PARTITION BY HASH (id)"])
def test_a_cast_to_json_is_not_called_in_an_older_snapshot(
    owner: Connection, app: Connection, purpose: str, level: str
) -> None:
    """The check of the columns, which other isolation levels than READ COMMITTED need, looks at their names alone."""
    app.execute(MOOD.format("json").encode())
    owner.execute(f"CREATE TABLE days (id bigint PRIMARY KEY, day mood) {level}".encode())
    if level:
        owner.execute("CREATE TABLE days_0 PARTITION OF days FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    owner.execute(f"GRANT ALL ON days TO claims_app; SELECT pgaudit.add_{purpose}('days', 'day', '{{id}}')".encode())
    if purpose == "guard":
        owner.execute("SELECT pgaudit.add_guard('days', 'day', '{id}', 'capture')")
    app.execute("SET default_transaction_isolation = 'repeatable read'")
    for statement in ("INSERT INTO days VALUES (1, 'ok')", "UPDATE days SET day = 'sad'", "DELETE FROM days"):
        app.execute(statement.encode())
    assert [event["action"] for event in captured(owner, "day.%")] == ["day.created", "day.updated", "day.deleted"]


def test_a_setting_does_not_change_what_a_condition_means(owner: Connection, app: Connection) -> None:
    r"""With ``standard_conforming_strings = off``, '\d' would be a d."""
    owner.execute(
        r"SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => $$new.note ~ '^\d+$'$$);"
        "INSERT INTO claims (id) VALUES (1)"
    )
    app.execute("SET standard_conforming_strings = off; SET escape_string_warning = off")
    app.execute("UPDATE claims SET note = '5'")
    assert [event["action"] for event in captured(owner)] == ["claim.created", "claim.updated"]


def test_the_context_of_an_application_stays_small(owner: Connection, app: Connection) -> None:
    """1e131000 takes 8 characters in a setting and 131,000 as text: it would leave no space for what has changed."""
    owner.execute(ADD)
    fields = ", ".join(f'"{name}": 1e131000' for name in ("request_id", "trace_id", "user_agent", "ip"))
    said = f'{{"actor": {{"type": "user", "id": "1", "name": 1e131000}}, "context": {{{fields}}}}}'
    with app.transaction():
        app.execute("SELECT set_config('audit.context', %s, true)", [said])
        app.execute("INSERT INTO claims (id, note) VALUES (1, repeat('secret ', 2000))")
    (event,) = captured(owner)
    assert len(event["actor"]["name"]) == 500
    assert len(event["context"]["request_id"]) == 1000
    assert {change["path"]: change["after"] for change in event["changes"]}["note"] == "secret " * 2000


def test_planning_a_condition_calls_no_policy(member: Connection, app: Connection) -> None:
    """A policy of the table's owner may call a function that the planner evaluates at once."""
    app.execute("""
        CREATE TABLE mine (id int PRIMARY KEY, amount int);
        CREATE FUNCTION spy(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
            $$ BEGIN ASSERT current_user = 'claims_app', format('called by %s', current_user); RETURN true; END $$;
        CREATE POLICY spy ON mine USING (public.spy(1));
        ALTER TABLE mine ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY
    """)
    member.execute("SELECT pgaudit.add_capture('mine', 'claim', '{id}', condition => 'new.amount > 1')")
    app.execute("ALTER TABLE mine ADD note text")
    assert member.execute("SELECT * FROM pgaudit.capture_problems()").fetchall() == []
    app.execute("INSERT INTO mine VALUES (1, 1); UPDATE mine SET amount = 2")
    assert [event["action"] for event in captured(member)] == ["claim.created", "claim.updated"]


def test_a_condition_calls_no_cast_of_another_role(member: Connection, app: Connection) -> None:
    """Values of types that belong to others are text in a condition, also where a column got such a type later."""
    app.execute(MOOD.format("text").encode())
    app.execute("CREATE TABLE mine (id int PRIMARY KEY, day mood, amount int)")
    member.execute(
        "SELECT pgaudit.add_capture('mine', 'claim', '{id}', condition => $$new.day LIKE 's%' AND new.amount > 1$$)"
    )
    app.execute("INSERT INTO mine VALUES (1, 'ok', 2); UPDATE mine SET day = 'sad'; UPDATE mine SET day = 'ok'")
    assert [event["action"] for event in captured(member)] == ["claim.created", "claim.updated"]
    app.execute("""
        CREATE FUNCTION spy_int(mood) RETURNS int LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'called by %', current_user; END $$;
        CREATE CAST (mood AS int) WITH FUNCTION spy_int(mood) AS IMPLICIT;
        ALTER TABLE mine ALTER amount TYPE mood USING 'ok'::mood
    """)
    with pytest.raises(psycopg.errors.UndefinedFunction, match="text > integer"):
        app.execute("UPDATE mine SET day = 'sad'")
    ((problem,),) = member.execute("SELECT problem FROM pgaudit.capture_problems()").fetchall()
    assert problem.startswith("cannot be updated, because the condition is not valid: operator does not exist: text > ")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("new.ctid <> old.ctid", "column new.ctid does not exist"),
        ("new.doubled > 1", "column new.doubled does not exist"),
        ("true; DROP TABLE claims", "syntax error"),
    ],
)
def test_a_condition_that_no_trigger_can_evaluate_is_refused(owner: Connection, condition: str, reason: str) -> None:
    """System columns and virtual columns are not in transition tables."""
    if owner.info.server_version < 180000:
        owner.execute("ALTER TABLE claims ADD missing int")
    else:
        owner.execute("ALTER TABLE claims ADD doubled int GENERATED ALWAYS AS (id * 2) VIRTUAL")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=reason):
        owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => %s)", [condition])


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("condition", ["public.is_large(new)", "new.amount > 10 -- large"])
def test_a_condition_may_take_whole_rows_and_end_with_a_comment(
    owner: Connection, app: Connection, condition: str, rows: int
) -> None:
    """Rows are arguments of a function of the owner."""
    owner.execute("CREATE FUNCTION is_large(claims) RETURNS boolean LANGUAGE sql AS 'SELECT $1.amount > 10'")
    owner.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}', condition => %s)", [condition])
    app.execute("INSERT INTO claims (id) SELECT generate_series(1, %s)", [rows])
    app.execute("UPDATE claims SET amount = 5; UPDATE claims SET amount = 15")
    assert [event["action"] for event in captured(owner, "%.updated")] == ["claim.updated"] * rows


def test_a_row_trigger_of_the_application_cannot_pose_as_one_of_pgaudit(owner: Connection, app: Connection) -> None:
    """It could change rows between a statement and its capture, and so the order of the events."""
    owner.execute(ADD)
    app.execute("""
        CREATE FUNCTION sneak() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER "0_pgaudit_zz" AFTER UPDATE ON claims FOR EACH ROW EXECUTE FUNCTION sneak()
    """)
    ((problem,),) = owner.execute("SELECT problem FROM pgaudit.capture_problems()").fetchall()
    assert problem == "needs triggers for each row, because it has AFTER ROW triggers: 0_pgaudit_zz"


def test_text_that_a_collation_takes_for_equal_is_a_change(owner: Connection, app: Connection) -> None:
    """Also where the column got the collation after it was captured; a server without ICU has none of the kind."""
    owner.execute(f"{ADD}; SELECT pgaudit.add_guard('claims', 'claim', '{{id}}', 'capture')".encode())
    owner.execute("INSERT INTO claims (id, note) VALUES (1, 'a')")
    with suppress(psycopg.errors.FeatureNotSupported):
        owner.execute("""
            CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            ALTER TABLE claims ALTER note TYPE text COLLATE any_case
        """)
    app.execute("UPDATE claims SET note = 'A'")
    actions = [event["action"] for event in captured(owner)]
    assert actions == ["claim.created", "claim.created", "claim.updated", "claim.updated"]
