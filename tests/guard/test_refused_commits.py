"""is_unrecorded knows the error of a guard from others."""

from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, text

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.guard import guards, is_unrecorded
from tests.support.queries import Connection


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
