"""Captures and guards are added in the caller's transaction, and keep no writer waiting."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import set_json_loads
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import Session

from pgaudit.errors import CaptureRefused
from pgaudit.grants import grant
from pgaudit.guard import captures, changing, guards
from pgaudit.guard.example import example_event
from tests.support.queries import Connection
from tests.support.roles import temporary_roles
from tests.support.waiting import wait_until


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for locks shortly."""
    monkeypatch.setattr(changing, "ATTEMPTS", 2)
    monkeypatch.setattr(changing, "PATIENCE", "20ms")
    monkeypatch.setattr(changing, "PAUSE", 0.01)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_a_capture_belongs_to_the_transaction_of_the_caller(dsn: str, owner: Connection, end: str) -> None:
    """Also the first statement of a transaction; the caller's lock_timeout stays."""
    with psycopg.connect(dsn) as conn:
        captures.add(conn, "claims", target="claim", key="id")
        conn.execute("SET LOCAL lock_timeout = '7s'")
        guards.add(conn, "claims", target="claim", key="id")
        assert conn.execute("SHOW lock_timeout").fetchone() == ("7s",)
        getattr(conn, end)()
        assert conn.execute("SHOW lock_timeout").fetchone() == ("0",)
    assert len(captures.list_captures(owner)) == len(guards.list_guards(owner)) == (end == "commit")


def test_a_session_of_sqlalchemy_has_the_capture_in_its_transaction(dsn: str, owner: Connection) -> None:
    """In a session that is rolled back, and in one that is committed."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    for ends in ("rollback", "commit"):
        with Session(engine) as session:
            captures.add(session, "claims", target="claim", key="id")
            getattr(session, ends)()
        assert len(captures.list_captures(owner)) == (ends == "commit")


def test_a_connection_with_its_own_json_loader_is_accepted(owner: Connection) -> None:
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


def test_writers_pass_while_adding_waits_for_a_long_transaction(owner: Connection, dsn: str) -> None:
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


def test_only_the_owner_adds_a_capture_and_readers_see_it(owner: Connection, dsn: str) -> None:
    """The refusal says as whom to connect."""
    captures.add(owner, "claims", target="claim", key="id")
    with temporary_roles(dsn, "t_reader"):
        grant(owner, reader="t_reader")
        with psycopg.connect(f"{dsn} user=t_reader", autocommit=True) as reader:
            assert example_event(reader, captures.get_capture(reader, "claims"))["action"] == "claim.updated"
            assert guards.list_guards(reader) == []
            with pytest.raises(InsufficientPrivilege, match="can capture tables: connect as postgres"):
                captures.add(reader, "claims", target="claim", key="id")
            with pytest.raises(InsufficientPrivilege, match="can guard tables: connect as postgres"):
                guards.remove(reader, "claims")


def test_without_the_schema_the_error_names_the_command(empty_dsn: str) -> None:
    """As elsewhere: the error of the driver, with a note."""
    with psycopg.connect(empty_dsn) as conn, pytest.raises(psycopg.Error) as error:
        captures.add(conn, "pg_class", target="claim", key="id")
    assert error.value.__notes__ == ["pgaudit: run `pgaudit migrate`"]
