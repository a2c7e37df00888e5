"""pgaudit.sqlalchemy.identify_transactions(): transactions that write are told who makes the change."""

import json
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from pgaudit import UnknownConnection, bind, identify, identify_async
from pgaudit.recording.context import Request
from pgaudit.sqlalchemy import identify_transactions
from pgaudit.testing.database import url_of
from tests.support import told, traces
from tests.support.drivers import RollBack

INSERT = text("INSERT INTO visits (visitor) VALUES (:visitor)")
MANY: list[dict[str, Any]] = [{"visitor": "a"}, {"visitor": "b"}]
READ = text("SELECT coalesce(current_setting('audit.context', true), '')")


class Base(DeclarativeBase):
    """The classes of this module."""


class Visit(Base):
    """A row of the table."""

    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    visitor: Mapped[str]
    told: Mapped[str | None]


@pytest.fixture
def engine(dsn: str) -> Generator[Engine]:
    """An engine on psycopg whose transactions are identified, with the table."""
    told.create_table(dsn)
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    identify_transactions(engine)
    yield engine
    engine.dispose()


def asynchronous(dsn: str, driver: str, **options: Any) -> AsyncEngine:
    """Returns an asynchronous engine whose transactions are identified."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"), **options)
    identify_transactions(engine)
    return engine


def statements_of(engine: Engine) -> list[str]:
    """Returns a list to which the engine adds the statements that have a message of their own."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: seen.append(details[2]))
    return seen


def test_each_transaction_is_told_what_is_bound_then(dsn: str, engine: Engine) -> None:
    """Also one after another of the same connection; nothing is left for the one in which nothing is bound."""
    with engine.connect() as conn:
        for actor in ("user:1", "user:2", None):
            with bind(actor=actor):
                conn.execute(INSERT, {"visitor": str(actor)})
            conn.commit()
        with bind(actor="user:3"), conn.begin():
            conn.execute(INSERT, {"visitor": "user:3"})
        with bind(actor="user:3"), conn.begin_twophase():
            conn.execute(INSERT, {"visitor": "user:3"})
            assert conn.execute(text("SELECT told FROM visits ORDER BY id DESC LIMIT 1")).scalar()
            conn.get_transaction().rollback()  # type: ignore[union-attr]
    assert told.visits(dsn) == [("user:1", "user:1"), ("user:2", "user:2"), ("None", None), ("user:3", "user:3")]


def test_the_orm_is_told_too(dsn: str, engine: Engine) -> None:
    """New rows, one or many, changed ones, which are counted, and those of bulk statements."""
    with bind(actor="user:1"), Session(engine) as session:
        session.add_all([Visit(visitor="a"), Visit(visitor="b"), Visit(visitor="c")])
        session.flush()
        with bind(actor="user:2"):
            session.query(Visit).filter_by(visitor="b").one().visitor = "B"
            session.flush()
        with bind(actor="user:3"):
            assert session.query(Visit).filter_by(visitor="c").update({"visitor": "C"}) == 1
        session.commit()
    assert told.visits(dsn) == [("a", "user:1"), ("B", "user:2"), ("C", "user:3")]


def test_it_takes_no_message_of_its_own(engine: Engine) -> None:
    """One round trip each for BEGIN, the statement and COMMIT; the second statement is not preceded by anything."""
    with bind(actor="user:1"), engine.connect() as conn:
        raw: Any = conn.connection.driver_connection
        with told.messages(raw.pgconn) as seen:
            assert conn.execute(INSERT, {"visitor": "a"}).rowcount == 1
            assert conn.execute(text("UPDATE visits SET visitor = 'b'")).rowcount == 1
            conn.commit()
    assert told.round_trips(seen) == 4
    assert sum("set_config" in line and "\tF\t" in line for line in seen) == 1


def test_a_transaction_that_only_reads_or_has_nothing_to_tell_sends_what_it_always_sent(engine: Engine) -> None:
    """Reading while an actor is bound, writing while none is."""
    with engine.connect() as conn:
        raw: Any = conn.connection.driver_connection
        with told.messages(raw.pgconn) as seen:
            with bind(actor="user:1"):
                conn.execute(text("SELECT * FROM visits FOR UPDATE"))
            conn.commit()
            conn.execute(INSERT, {"visitor": "a"})
            conn.commit()
    assert not any("set_config" in line for line in seen)


def test_what_ends_within_a_transaction_is_told_as_well(dsn: str, engine: Engine) -> None:
    """The actor of a block is not that of the statement behind it."""
    with engine.begin() as conn:
        with bind(actor="user:1"):
            conn.execute(INSERT, {"visitor": "a"})
        conn.execute(INSERT, {"visitor": "b"})
    assert told.visits(dsn) == [("a", "user:1"), ("b", None)]


@pytest.mark.parametrize("raw", [False, True])
def test_a_statement_behind_a_savepoint_that_was_rolled_back_is_told_again(
    dsn: str, engine: Engine, *, raw: bool
) -> None:
    """SQLAlchemy's savepoints, and the application's own SQL."""

    def inside(conn: Any) -> None:
        conn.execute(INSERT, {"visitor": "lost"})

    with engine.begin() as conn:
        with bind(actor="user:1"):
            conn.execute(INSERT, {"visitor": "a"})
        with bind(actor="user:2"):
            if raw:
                conn.execute(text("SAVEPOINT mine"))
                inside(conn)
                conn.execute(text("ROLLBACK TO mine"))
            else:
                with pytest.raises(RollBack), conn.begin_nested():
                    inside(conn)
                    raise RollBack
            conn.execute(INSERT, {"visitor": "b"})
        with pytest.raises(RollBack), bind(actor="user:3"), conn.begin_nested():
            inside(conn)
            raise RollBack
        conn.execute(INSERT, {"visitor": "c"})
    assert told.visits(dsn) == [("a", "user:1"), ("b", "user:2"), ("c", None)]


def test_what_identify_was_given_holds_until_the_end(dsn: str, engine: Engine) -> None:
    """It is nearer than what is bound, and ends with a savepoint that is rolled back, or with the transaction."""
    with engine.begin() as conn, bind(actor="user:1"):
        conn.execute(INSERT, {"visitor": "a"})
        with pytest.raises(RollBack), conn.begin_nested():
            identify(conn, actor="user:2")
            raise RollBack
        conn.execute(INSERT, {"visitor": "b"})
        identify(conn, actor="user:3")
        conn.execute(INSERT, {"visitor": "c"})
        with bind(actor="user:4"):
            conn.execute(INSERT, {"visitor": "d"})
    with engine.begin() as conn, bind(actor="user:5"):
        conn.execute(INSERT, {"visitor": "e"})
        with bind(actor="user:6"):
            identify(conn)
        conn.execute(INSERT, {"visitor": "f"})
    assert told.visits(dsn) == [
        ("a", "user:1"), ("b", "user:1"), ("c", "user:3"), ("d", "user:3"), ("e", "user:5"), ("f", "user:5")
    ]  # fmt: skip


def test_an_error_of_the_statement_is_the_applications_own(dsn: str, engine: Engine) -> None:
    """The same class, the same transaction afterwards."""
    with bind(actor="user:1"), engine.connect() as conn:
        with pytest.raises(IntegrityError, match="null value"):
            conn.execute(INSERT, {"visitor": None})
        conn.rollback()
        with pytest.raises(ProgrammingError, match="nothing"), conn.begin_nested():
            conn.execute(text("DELETE FROM nothing"))
        conn.execute(INSERT, {"visitor": "a"})
        conn.commit()
    assert told.visits(dsn) == [("a", "user:1")]


def test_no_kind_of_statement_breaks(dsn: str, engine: Engine) -> None:
    """Several in one text, executemany, streamed rows, procedures, definitions, a percent sign, a time limit."""
    with bind(actor="user:1"), engine.begin() as conn:
        conn.exec_driver_sql("SET LOCAL statement_timeout = 5000")
        conn.exec_driver_sql("UPDATE visits SET visitor = ''; INSERT INTO visits (visitor) VALUES ('two')")
        conn.execute(INSERT, MANY)
        streamed = text("SELECT count(*) FROM visits").execution_options(stream_results=True)
        assert conn.execute(streamed).scalar() == 3
        conn.exec_driver_sql("CREATE PROCEDURE visit() LANGUAGE sql AS $$INSERT INTO visits (visitor) VALUES ('p')$$")
        conn.exec_driver_sql("CALL visit()")
        percent = "INSERT INTO visits (visitor) VALUES ('100%')"
        with bind(actor="user:2"):
            conn.exec_driver_sql(percent, execution_options={"no_parameters": True})
        raw: Any = conn.connection.driver_connection
        with raw.cursor().copy("COPY visits (visitor) FROM STDIN") as copy:
            copy.write_row(["copied"])
    first = [(visitor, "user:1") for visitor in ("two", "a", "b", "p")]
    assert told.visits(dsn) == [*first, ("100%", "user:2"), ("copied", "user:2")]


def test_autocommit_is_told_in_one_message(dsn: str, engine: Engine) -> None:
    """Each statement is a transaction; what must be sent on its own is."""
    commits = (
        "CREATE PROCEDURE visit() LANGUAGE plpgsql AS $$BEGIN INSERT INTO visits (visitor) VALUES ('p'); COMMIT; END$$"
    )
    with bind(actor="user:1"), engine.connect() as conn:
        conn.execution_options(isolation_level="AUTOCOMMIT")
        conn.execute(INSERT, {"visitor": "a"})
        conn.execute(INSERT, MANY)
        conn.exec_driver_sql(commits)
        conn.exec_driver_sql("CALL visit()")
        conn.exec_driver_sql("VACUUM visits")
        assert conn.execute(READ).scalar() == ""
    assert told.visits(dsn) == [("a", "user:1"), ("a", None), ("b", None), ("p", None)]


def test_a_lookup_that_fails_or_writes_itself_breaks_nothing(dsn: str, engine: Engine) -> None:
    """The actor is missing then, what else is known is not."""

    def fails() -> str:
        raise RuntimeError

    def writes() -> str:
        with engine.begin() as conn:
            conn.execute(INSERT, {"visitor": "lookup"})
        return "user:5"

    with Request({"request_id": "r-1"}, fails).serving(), engine.begin() as conn:
        conn.execute(INSERT, {"visitor": "a"})
        assert conn.execute(READ).scalar() == '{"context":{"request_id":"r-1"}}'
    with Request({}, writes).serving(), engine.begin() as conn:
        conn.execute(INSERT, {"visitor": "b"})
    assert told.visits(dsn) == [("a", None), ("lookup", None), ("b", "user:5")]


@pytest.mark.anyio
async def test_a_trace_is_told_once_and_another_one_again(dsn: str) -> None:
    """Not each of its spans: instrumentation makes one for each statement."""
    told.create_table(dsn)
    engine = asynchronous(dsn, "psycopg")
    seen = statements_of(engine.sync_engine)
    async with engine.begin() as conn:
        for trace, span in (("a", "1"), ("a", "2"), ("b", "3")):
            with traces.remote_parent(trace * 32, span * 16):
                await conn.execute(INSERT, {"visitor": trace})
        said = json.loads((await conn.execute(READ)).scalar_one())
    await engine.dispose()
    assert said == {"context": {"trace_id": "b" * 32, "span_id": "3" * 16}}
    assert sum("set_config" in statement for statement in seen) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_asynchronous_engines_are_told_with_one_statement(dsn: str, driver: str) -> None:
    """One for each transaction that writes, whose actor may be awaited; and again behind a savepoint."""

    async def lookup() -> str:
        return "user:1"

    told.create_table(dsn)
    engine = asynchronous(dsn, driver)
    seen = statements_of(engine.sync_engine)
    async with engine.connect() as conn:
        with Request({}, lookup_async=lookup).serving():
            await conn.execute(READ)
            await conn.execute(INSERT, {"visitor": "a"})
            await conn.execute(INSERT, MANY)
            with bind(actor="user:2"), pytest.raises(RollBack):
                async with conn.begin_nested():
                    await conn.execute(INSERT, {"visitor": "lost"})
                    raise RollBack
            await conn.execute(INSERT, {"visitor": "c"})
            await identify_async(conn, actor="user:3")
            await conn.execute(INSERT, {"visitor": "d"})
            await conn.commit()
        await conn.execute(INSERT, {"visitor": "e"})
        await conn.commit()
    await engine.dispose()
    expected = [("a", "user:1"), ("a", "user:1"), ("b", "user:1"), ("c", "user:1"), ("d", "user:3"), ("e", None)]
    assert told.visits(dsn) == expected
    assert sum("set_config" in statement for statement in seen) == 5


@pytest.mark.anyio
async def test_an_asynchronous_engine_in_autocommit_is_left_alone(dsn: str) -> None:
    """There is no transaction that could be told."""
    told.create_table(dsn)
    engine = asynchronous(dsn, "asyncpg", isolation_level="AUTOCOMMIT")
    seen = statements_of(engine.sync_engine)
    with bind(actor="user:1"):
        async with engine.connect() as conn:
            await conn.execute(INSERT, {"visitor": "a"})
    await engine.dispose()
    assert told.visits(dsn) == [("a", None)]
    assert not any("set_config" in statement for statement in seen)


def test_what_is_not_an_engine_of_postgres_is_refused(engine: Engine) -> None:
    """A sessionmaker has an engine, or several; a second call adds nothing."""
    with pytest.raises(UnknownConnection, match="sessionmaker is not an Engine"):
        identify_transactions(sessionmaker(engine))  # type: ignore[arg-type]
    with pytest.raises(UnknownConnection):
        identify_transactions(create_engine("sqlite://"))
    identify_transactions(engine)
    with bind(actor="user:1"), engine.connect() as conn:
        raw: Any = conn.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with told.messages(raw.pgconn) as seen:
            conn.execute(INSERT, {"visitor": "a"})
    assert sum("set_config" in line and "\tF\t" in line for line in seen) == 1
