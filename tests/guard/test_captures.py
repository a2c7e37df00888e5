"""Adding capture and guards from Python, in the caller's transaction."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import set_json_loads
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.orm import Session

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.errors import CaptureRefused
from pgaudit.grants import grant
from pgaudit.guard import captures, changing, guards, is_unrecorded, statements
from pgaudit.guard.example import example_event
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY, tenant text, status text, amount numeric, iban text, at timestamptz);
    CREATE SCHEMA insurance;
    CREATE TABLE insurance.claims (id bigint PRIMARY KEY, status text);
    CREATE TABLE "Odd name" (id bigint PRIMARY KEY)
"""
TAKEN = "SELECT event FROM pgaudit.audit_jobs WHERE event->>'action' LIKE 'claim.%' ORDER BY id"
Module = Any


@pytest.fixture
def owner(dsn: str) -> Iterator[Connection]:
    """A session in autocommit, and tables of the application."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        yield conn


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for locks shortly."""
    monkeypatch.setattr(changing, "ATTEMPTS", 2)
    monkeypatch.setattr(changing, "PATIENCE", "20ms")
    monkeypatch.setattr(changing, "PAUSE", 0.01)


def test_a_capture_is_as_it_was_asked_for(owner: Connection) -> None:
    """All options; adding again replaces them."""
    added = captures.add(
        owner, "claims", target="claim", key=("tenant", "id"), action="case.claim", columns=["status", "iban"],
        exclude="at", mask="iban", when="new.status IS DISTINCT FROM old.status",
    )  # fmt: skip
    assert (added.table, added.target, added.key, added.action) == (
        "public.claims",
        "claim",
        ["tenant", "id"],
        "case.claim",
    )
    assert (added.columns, added.exclude, added.mask) == (["status", "iban"], ["at"], ["iban"])
    assert added.when == "new.status IS DISTINCT FROM old.status"
    assert (added.state, added.level, added.level_reason, added.children) == ("captured", "statement", None, [])
    assert captures.add(owner, "claims", target="claim", key="id") == captures.listed(owner)[0]
    assert captures.listed(owner)[0].columns is None


def test_a_guard_is_as_it_was_asked_for(owner: Connection) -> None:
    """One pattern is that of all operations."""
    added = guards.add(
        owner, "claims", target="Claim", action="claim", key="id", on_missing="capture", actions="claim.*",
        changes=True, exclude=("at",), mask=("iban",), when="new.amount > 5",
    )  # fmt: skip
    assert (added.target, added.action, added.on_missing, added.changes) == ("Claim", "claim", "capture", True)
    assert added.actions == dict.fromkeys(("insert", "update", "delete", "truncate"), "claim.*")
    assert (added.exclude, added.mask, added.when, added.state) == (["at"], ["iban"], "new.amount > 5", "guarded")
    other = guards.add(owner, "claims", target="claim", key="id", actions={"delete": "x.y"})
    assert other.actions == {"delete": "x.y"}
    assert guards.listed(owner)[0].on_missing == "abort"


@pytest.mark.parametrize("module", [captures, guards])
def test_it_is_paused_resumed_renewed_and_removed(owner: Connection, module: Module) -> None:
    """Each is an event about the table; a pause outlives a renewal."""
    module.add(owner, "claims", target="claim", key="id", mask="iban")
    module.pause(owner, "claims")
    assert (module.found(owner, "claims").state, module.found(owner, "claims").paused_by) == ("paused", "postgres")
    assert module.renew(owner, "claims").state == "paused"
    module.resume(owner, "public.claims")
    assert module.found(owner, "claims").mask == ["iban"]
    assert not module.found(owner, "claims").is_paused
    module.remove(owner, "claims")
    assert module.listed(owner) == []
    actions = owner.execute("SELECT event->>'action' FROM pgaudit.audit_jobs ORDER BY id").fetchall()
    assert [action.rpartition("_")[2] for (action,) in actions] == [
        "added", "paused", "added", "paused", "resumed", "removed",
    ]  # fmt: skip


@pytest.mark.parametrize("module", [captures, guards])
@pytest.mark.parametrize("name", ["remove", "pause", "resume", "renew", "found"])
def test_what_is_not_there_is_named(owner: Connection, module: Module, name: str) -> None:
    """The sentence has the command that shows what is."""
    with pytest.raises(
        CaptureRefused, match=r"^claims is not (captured|guarded): `pgaudit (capture|guard) list` shows"
    ):
        getattr(module, name)(owner, "claims")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("nowhere", {}, 'relation "nowhere" does not exist'),
        ("nowhere.claims", {}, 'schema "nowhere" does not exist'),
        ("a.b.c.d", {}, "improper relation name"),
        ("pgaudit.audit_log", {}, "is not a table of the application"),
        ("claims", {"key": "no"}, "it has no column no; its columns are amount, at, iban"),
        ("claims", {"key": ()}, "the key has no column"),
        ("claims", {"target": ""}, "1 to 100 characters"),
        ("claims", {"target": "Claim"}, "cannot begin an action"),
        (
            "claims",
            {"when": "status = 'x'"},
            'the condition is not valid: column reference "status" is ambiguous.* Name',
        ),
        ("claims", {"when": "new.no = 1"}, "the condition is not valid: column new.no does not exist"),
        ("claims", {"when": "is_large(new.amount)"}, "function is_large.numeric. does not exist.*with their schema"),
        ("claims", {"when": "new.amount"}, "must be type boolean"),
        ("claims", {"when": "new.amount >"}, "the condition is not valid: syntax error"),
        ("claims", {"when": "true); DROP TABLE public.claims; --"}, "the condition is not valid"),
        ("claims", {"when": "max(new.amount) > 1"}, "aggregate functions are not allowed"),
    ],
)
@pytest.mark.parametrize("module", [captures, guards])
def test_what_cannot_be_captured_is_refused_when_it_is_added(
    owner: Connection, module: Module, table: str, options: dict[str, Any], message: str
) -> None:
    """With the database's sentence; the caller's transaction can go on."""
    with owner.transaction():
        with pytest.raises(CaptureRefused, match=message):
            module.add(owner, table, **{"target": "claim", "key": "id"} | options)
        owner.execute("INSERT INTO claims (id) VALUES (1)")
    assert owner.execute("SELECT count(*) FROM claims").fetchone() == (1,)
    assert module.listed(owner) == []


def test_a_condition_with_functions_of_a_schema_is_taken(owner: Connection) -> None:
    """And an UPDATE that it does not hold for is no event; what is in the condition is not run when it is added."""
    owner.execute("CREATE FUNCTION is_large(numeric) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 100'")
    captures.add(
        owner, "claims", target="claim", key="id", when="public.is_large(new.amount) AND new IS DISTINCT FROM old"
    )
    owner.execute("INSERT INTO claims (id, amount) VALUES (1, 1); UPDATE claims SET amount = 2")
    owner.execute("UPDATE claims SET amount = 200")
    assert [event["action"] for (event,) in owner.execute(TAKEN).fetchall()] == ["claim.created", "claim.updated"]
    captures.add(owner, "claims", target="claim", key="id", when="1 / (new.id - new.id) = 1")


def test_other_options_of_a_guard_are_refused(owner: Connection) -> None:
    """On_missing, operations and patterns."""
    options: list[tuple[dict[str, Any], str]] = [
        ({"on_missing": "ignore"}, "on_missing must be abort, capture or warn"),
        ({"actions": {"upsert": "claim.*"}}, "upsert"),
        ({"actions": "Claim %"}, "is no pattern of an action"),
    ]
    for given, message in options:
        with pytest.raises(CaptureRefused, match=message):
            guards.add(owner, "claims", target="claim", key="id", **given)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_it_belongs_to_the_transaction_of_the_caller(dsn: str, owner: Connection, end: str) -> None:
    """Also the first statement of a transaction; the caller's lock_timeout stays."""
    with psycopg.connect(dsn) as conn:
        captures.add(conn, "claims", target="claim", key="id")
        conn.execute("SET LOCAL lock_timeout = '7s'")
        guards.add(conn, "claims", target="claim", key="id")
        assert conn.execute("SHOW lock_timeout").fetchone() == ("7s",)
        getattr(conn, end)()
        assert conn.execute("SHOW lock_timeout").fetchone() == ("0",)
    assert len(captures.listed(owner)) == len(guards.listed(owner)) == (end == "commit")


def test_sqlalchemy_has_it_in_its_transaction(dsn: str, owner: Connection) -> None:
    """In a session that is rolled back, and in one that is committed."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    for ends in ("rollback", "commit"):
        with Session(engine) as session:
            captures.add(session, "claims", target="claim", key="id")
            getattr(session, ends)()
        assert len(captures.listed(owner)) == (ends == "commit")


def test_a_connection_that_reads_json_in_its_own_way_is_no_matter(owner: Connection) -> None:
    """Such as Django's, which reads JSON as text."""
    set_json_loads(str, owner)
    assert guards.add(owner, "claims", target="claim", key="id", actions="a.*").actions["insert"] == "a.*"


@pytest.mark.usefixtures("brief")
def test_a_table_that_stays_locked_is_named(owner: Connection, dsn: str) -> None:
    """The caller's transaction can go on, and writers did not wait behind it for long."""
    with psycopg.connect(dsn) as other:
        other.execute("INSERT INTO claims (id) VALUES (1)")
        with owner.transaction():
            with pytest.raises(CaptureRefused, match=r"^a transaction keeps claims locked: end it"):
                captures.add(owner, "claims", target="claim", key="id")
            owner.execute("SELECT 1")


def test_writers_pass_while_it_waits_for_a_long_transaction(owner: Connection, dsn: str) -> None:
    """A writer that came behind it is let through, while the long transaction goes on; then it is added."""
    with ThreadPoolExecutor(2) as pool, psycopg.connect(dsn) as long, psycopg.connect(dsn, autocommit=True) as writer:
        long.execute("INSERT INTO claims (id) VALUES (1)")
        adding = pool.submit(lambda: captures.add(owner, "claims", target="claim", key="id"))
        wait_until("it waits for the lock", lambda: waits(dsn, "add_capture"))
        pool.submit(writer.execute, b"INSERT INTO claims (id) VALUES (2)").result(20)
        assert not adding.done()
        long.commit()
        assert adding.result(20).state == "captured"


def waits(dsn: str, function: str) -> bool:
    """Returns whether a call of the function waits for a lock."""
    with psycopg.connect(dsn) as conn:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, %s) > 0"
        return conn.execute(query, [function]).fetchone() != (0,)


def test_a_name_may_need_its_schema_or_quotes(owner: Connection) -> None:
    """The search path decides what is added; when one is looked for, all tables of that name are named."""
    captures.add(owner, "insurance.claims", target="claim", key="id")
    assert captures.found(owner, "claims").table == "insurance.claims"
    captures.add(owner, "claims", target="claim", key="id")
    with pytest.raises(CaptureRefused, match=r"claims is ambiguous: name one of insurance\.claims, public\.claims"):
        captures.found(owner, "claims")
    assert captures.renew(owner, "claims").table == "public.claims"
    assert captures.add(owner, '"Odd name"', target="odd", key="id").table == "public.Odd name"
    assert captures.found(owner, '"Odd name"') == captures.found(owner, "public.Odd name")


def test_only_the_owner_of_schema_and_table_adds_and_readers_look(owner: Connection, dsn: str) -> None:
    """The refusal says as whom to connect."""
    captures.add(owner, "claims", target="claim", key="id")
    with temporary_roles(dsn, "t_reader"):
        grant(owner, reader="t_reader")
        with psycopg.connect(f"{dsn} user=t_reader", autocommit=True) as reader:
            assert example_event(reader, captures.found(reader, "claims"))["action"] == "claim.updated"
            assert guards.listed(reader) == []
            with pytest.raises(InsufficientPrivilege, match="can capture tables: connect as postgres"):
                captures.add(reader, "claims", target="claim", key="id")
            with pytest.raises(InsufficientPrivilege, match="can guard tables: connect as postgres"):
                guards.remove(reader, "claims")


def test_the_example_has_the_columns_that_count(owner: Connection) -> None:
    """Masked values are masked; the key is the target."""
    added = captures.add(owner, "claims", target="claim", key=("tenant", "id"), exclude="amount", mask="iban")
    example = example_event(owner, added)
    assert example["targets"] == [{"type": "claim", "id": "7,7"}]
    assert [(change["path"], change["before"]) for change in example["changes"]] == [
        ("status", "a"), ("iban", "***"), ("at", "2026-01-31T09:30:00+00:00"),
    ]  # fmt: skip


def test_a_missing_schema_has_its_remedy(empty_dsn: str) -> None:
    """As elsewhere: the error of the driver, with a note."""
    with psycopg.connect(empty_dsn) as conn, pytest.raises(psycopg.Error) as error:
        captures.add(conn, "pg_class", target="claim", key="id")
    assert error.value.__notes__ == ["pgaudit: run `pgaudit migrate`"]


def test_the_statements_for_migrations_do_the_same(owner: Connection) -> None:
    """Values with quotes, backslashes and percent signs arrive as they are."""
    when = r"new.status LIKE 'a\%''%' OR new.amount::int = 1"
    owner.execute(statements.add_capture("claims", target="claim", key="id", mask=["iban"], when=when).encode())
    assert captures.found(owner, "claims").when == when
    owner.execute(statements.add_guard("claims", target="claim", key="id", actions="claim.*", changes=True).encode())
    assert guards.found(owner, "claims").changes
    owner.execute(f"{statements.remove_guard('claims')}; {statements.remove_capture('claims')}".encode())
    assert captures.listed(owner) == []


@pytest.mark.parametrize("library", ["psycopg", "sqlalchemy"])
def test_a_refused_commit_is_recognized(dsn: str, owner: Connection, library: str) -> None:
    """As the driver raises it, and as SQLAlchemy wraps it; other errors are none."""
    guards.add(owner, "claims", target="claim", key="id")
    with pytest.raises(Exception, match="without an audit event") as error:
        ways()[library](dsn)
    assert is_unrecorded(error.value)
    with pytest.raises(psycopg.errors.SyntaxError) as other:
        owner.execute("nonsense")
    assert not is_unrecorded(other.value)
    event = AuditEvent(action="claim.paid", target="claim:1")
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO claims (id) VALUES (1)")
        AuditLog(Settings(dsn=dsn)).record(conn, event)
    assert owner.execute("SELECT count(*) FROM claims").fetchone() == (1,)


def ways() -> dict[str, Callable[[str], None]]:
    """Returns how a library changes a row and commits."""

    def of_psycopg(dsn: str) -> None:
        with closing(psycopg.connect(dsn)) as conn:
            conn.execute("INSERT INTO claims (id) VALUES (1)")
            conn.commit()

    def of_sqlalchemy(dsn: str) -> None:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
        with engine.begin() as conn:
            conn.execute(text("INSERT INTO claims (id) VALUES (1)"))

    return {"psycopg": of_psycopg, "sqlalchemy": of_sqlalchemy}
