"""What spooling costs the caller's transaction, and where it ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgaudit import AuditEvent, AuditLog, NotInTransaction, Settings, spool
from pgaudit.errors import SpoolFull
from pgaudit.recording import document
from pgaudit.testing.database import url_of

Connection = psycopg.Connection[Any]
APPROVED = AuditEvent(action="claim.approved")


@pytest.fixture(params=["raise", "spool"])
def audit(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> AuditLog:
    """An audit log for each setting of ON_FAILURE."""
    return AuditLog(Settings(dsn=dsn, on_failure=request.param, spool_dir=tmp_path / "spool"))


@pytest.fixture
def spooling(dsn: str, tmp_path: Path) -> AuditLog:
    """An audit log that spools."""
    return AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path / "spool"))


@pytest.fixture
def session(dsn: str) -> Iterator[Session]:
    """A session of SQLAlchemy, and its table."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


class Base(DeclarativeBase):
    """The models of this file."""


class Claim(Base):
    """A claim whose number is unique."""

    __tablename__ = "claim"
    id: Mapped[int] = mapped_column(primary_key=True)


def queued(conn: Connection) -> int:
    """Returns the number of events in the queue."""
    (count,) = conn.execute("SELECT count(*) FROM pgaudit.audit_jobs").fetchone() or (0,)
    return int(count)


def test_a_transaction_of_many_events_opens_few_subtransactions(conn: Connection, spooling: AuditLog) -> None:
    """Postgres keeps 64 subtransactions of a session in memory. Beyond, all other sessions become slower."""
    for _ in range(100):
        spooling.record(conn, APPROVED)
    query = "SELECT count(DISTINCT xmin::text) FROM pgaudit.audit_jobs"
    assert conn.execute(query).fetchone() == (33,)  # one for each caught call, and the transaction itself
    conn.commit()
    assert queued(conn) == 100


def test_a_rolled_back_subtransaction_counts_no_more(conn: Connection, spooling: AuditLog) -> None:
    """A rollback to a savepoint restores the count, and the next transaction starts at zero."""
    for _ in range(2):
        for _ in range(40):
            with conn.transaction(force_rollback=True):
                spooling.record(conn, APPROVED)
        assert conn.execute("SELECT length(current_setting('audit.caught_calls', true))").fetchone() == (0,)
        spooling.record(conn, APPROVED)
        conn.commit()
    assert queued(conn) == 2


def test_a_failure_after_many_events_of_a_transaction_is_raised(conn: Connection, spooling: AuditLog) -> None:
    """From the 33rd call on nothing is caught: the change is rolled back with all its events."""
    for _ in range(32):
        spooling.record(conn, APPROVED)
    conn.execute("ALTER TABLE pgaudit.audit_jobs ADD CONSTRAINT broken CHECK (false) NOT VALID")
    with pytest.raises(psycopg.errors.CheckViolation):
        spooling.record(conn, APPROVED)
    conn.rollback()
    assert queued(conn) == 0
    assert spool.count(spooling.settings.spool_dir) == 0


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_needs_the_transaction_repeated_is_raised(conn: Connection, spooling: AuditLog, state: str) -> None:
    """A deadlock or a serialization failure is the caller's to repeat: its event is recorded again, not spooled."""
    conn.execute(f"""
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'again' USING ERRCODE = '{state}'; END $$""")
    conn.execute("CREATE TRIGGER fail BEFORE INSERT ON pgaudit.audit_jobs EXECUTE FUNCTION public.fail()")
    with pytest.raises(psycopg.errors.lookup(state)):
        spooling.record(conn, APPROVED)
    assert spool.count(spooling.settings.spool_dir) == 0


def test_a_full_spool_raises(dsn: str, conn: Connection, tmp_path: Path) -> None:
    """The event can be kept nowhere: the caller has to roll its change back."""
    audit = AuditLog(Settings(dsn=dsn, on_failure="spool", spool_dir=tmp_path / "spool", spool_max_bytes=10))
    conn.execute("ALTER FUNCTION pgaudit.record RENAME TO broken")
    with pytest.raises(SpoolFull):
        audit.record(conn, APPROVED)


def test_an_autocommit_pipeline_is_refused(dsn: str, audit: AuditLog) -> None:
    """Whether a pipeline is in a transaction is known when its results are: they are waited for."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        with conn.pipeline():
            conn.execute("SELECT 1")
            with pytest.raises(NotInTransaction):
                audit.record(conn, APPROVED)
        with conn.pipeline(), conn.transaction():
            conn.execute("SELECT 1")
            audit.record(conn, APPROVED)
        assert queued(conn) == 1


@pytest.mark.anyio
async def test_an_async_autocommit_pipeline_is_refused(dsn: str, audit: AuditLog) -> None:
    """Whether a pipeline is in a transaction is known when its results are: they are waited for."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        async with conn.pipeline():
            await conn.execute("SELECT 1")
            with pytest.raises(NotInTransaction):
                await audit.record_async(conn, APPROVED)
        async with conn.pipeline(), conn.transaction():
            await conn.execute("SELECT 1")
            await audit.record_async(conn, APPROVED)


def test_recording_does_not_flush_a_session(session: Session, audit: AuditLog) -> None:
    """Pending objects stay pending: the application decides when it writes them."""
    session.add(Claim(id=1))
    audit.record(session, APPROVED)
    assert len(session.new) == 1


def test_recording_in_before_commit_records_once(dsn: str, session: Session, audit: AuditLog) -> None:
    """The hook is not called again by what recording does."""
    event.listen(session, "before_commit", lambda session: audit.record(session, APPROVED))
    session.execute(text("SELECT 1"))
    session.commit()
    with psycopg.connect(dsn) as conn:
        assert queued(conn) == 1


def test_a_violated_constraint_of_the_application_stays_its_own_error(session: Session, audit: AuditLog) -> None:
    """What the session has not written yet cannot fail while recording, and fails in the caller's flush."""
    session.add(Claim(id=1))
    session.flush()
    session.expunge_all()
    session.add(Claim(id=1))
    audit.record(session, APPROVED)
    with pytest.raises(IntegrityError):
        session.flush()


def test_many_events_are_sent_in_portions(conn: Connection, audit: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that a statement cannot carry is several statements of one transaction, in the order of its events."""
    monkeypatch.setattr(document, "PORTION_BYTES", 10_000)
    audit.record(conn, *(AuditEvent(action="claim.imported", data={"number": number}) for number in range(100)))
    numbers = conn.execute("SELECT (event->'data'->>'number')::int FROM pgaudit.audit_jobs ORDER BY id").fetchall()
    assert [number for (number,) in numbers] == list(range(100))
    conn.rollback()
    assert queued(conn) == 0


def test_a_portion_is_as_large_as_a_statement_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events fill a portion as long as they fit; one that fits nowhere travels alone."""
    size = len(document.to_portions([APPROVED], 49_152)[0].document) - 2
    monkeypatch.setattr(document, "PORTION_BYTES", 3 * size)
    portions = document.to_portions([APPROVED] * 7, 49_152)
    assert [len(portion.events) for portion in portions] == [3, 3, 1]
    monkeypatch.setattr(document, "PORTION_BYTES", 1)
    assert [len(portion.events) for portion in document.to_portions([APPROVED] * 2, 49_152)] == [1, 1]
