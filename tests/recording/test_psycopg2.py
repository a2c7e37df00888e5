"""SQLAlchemy on psycopg2, which is its default driver up to version 2.0."""

from collections.abc import Generator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from pgaudit import bind, identify
from pgaudit.sqlalchemy import identify_transactions
from pgaudit.testing.database import url_of
from tests.support import told
from tests.support.drivers import RollBack

INSERT = text("INSERT INTO visits (visitor) VALUES (:visitor)")
MANY: list[dict[str, Any]] = [{"visitor": "b"}, {"visitor": "c"}]


@pytest.fixture
def engine(dsn: str) -> Generator[Engine]:
    """An engine whose transactions are identified, with the table."""
    told.create_table(dsn)
    engine = create_engine(url_of(dsn, "postgresql+psycopg2"))
    identify_transactions(engine)
    yield engine
    engine.dispose()


def test_a_transaction_is_told_in_the_message_of_its_statement(dsn: str, engine: Engine) -> None:
    """The result is the statement's; one that is rolled back to a savepoint is told again."""
    with bind(actor="user:1"), engine.connect() as conn:
        result = conn.execute(text("INSERT INTO visits (visitor) VALUES (:v || '%') RETURNING visitor"), {"v": "a"})
        assert result.rowcount == 1
        assert result.all() == [("a%",)]
        conn.execute(INSERT, MANY)
        with pytest.raises(RollBack), bind(actor="user:2"), conn.begin_nested():
            conn.execute(INSERT, {"visitor": "lost"})
            raise RollBack
        conn.exec_driver_sql("UPDATE visits SET visitor = 'C%%' WHERE visitor = 'c'")
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(INSERT, {"visitor": None})
        identify(conn, actor="user:3")
        conn.execute(INSERT, {"visitor": "d"})
        conn.commit()
        conn.execution_options(stream_results=True)
        assert conn.execute(text("SELECT count(*) FROM visits")).scalar() == 4
    assert told.visits(dsn) == [("a%", "user:1"), ("b", "user:1"), ("C%", "user:1"), ("d", "user:3")]


def test_a_statement_in_autocommit_is_told_too(dsn: str, engine: Engine) -> None:
    """Both are one transaction."""
    with bind(actor="user:1"), engine.connect() as conn:
        conn.execution_options(isolation_level="AUTOCOMMIT")
        conn.execute(INSERT, {"visitor": "a"})
    assert told.visits(dsn) == [("a", "user:1")]
