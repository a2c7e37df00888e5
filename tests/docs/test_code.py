"""The programs that the documentation shows, run on a real server."""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from docs.code import asyncpg_, history, listener_, psycopg_, sqlalchemy_, sqlalchemy_orm, timeline_
from pgaudit import AuditContext, AuditLog, Change, bind
from pgaudit.signals import job_failed, job_stalled
from pgaudit.sqlalchemy import classes
from pgaudit.testing import assert_recorded, run_worker_once
from pgaudit.testing.database import url_of
from tests.support.processes import worker_process
from tests.support.waiting import wait_until

CODE = Path(__file__).parents[2] / "docs" / "code"


@pytest.fixture
def claims(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """The table of the programs, with claim 7 in it; ``approved`` says what they have done."""
    monkeypatch.setenv("PGAUDIT_DSN", dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE claims AS SELECT 7::bigint AS id, 'open' AS status")
        yield conn


def approved(conn: psycopg.Connection) -> bool:
    """Whether the change and its event are both there."""
    assert_recorded(conn, action="claim.approved", target="claim:7")
    return conn.execute("SELECT status FROM claims").fetchall() == [("approved",)]


async def test_asyncpg(claims: psycopg.Connection, dsn: str) -> None:
    """A connection out of a pool, in a transaction block."""
    async with asyncpg.create_pool(url_of(dsn, "postgresql"), min_size=1, max_size=1) as pool:
        await asyncpg_.approve(pool, 7)
    assert approved(claims)


async def test_asyncpg_beside_a_worker(claims: psycopg.Connection, dsn: str) -> None:
    """What is recorded is appended meanwhile."""
    async with asyncpg_.serving(url_of(dsn, "postgresql")) as pool:
        await asyncpg_.approve(pool, 7)
        while claims.execute("SELECT size FROM pgaudit.log_head").fetchone() != (1,):
            await asyncio.sleep(0.01)
    assert approved(claims)


async def test_psycopg(claims: psycopg.Connection, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A synchronous connection and an asynchronous one; a denied attempt is an event without a change."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await psycopg_.approve(conn, 7)
    assert approved(claims)
    psycopg_.approve_batch(claims, [7, 8])
    monkeypatch.setattr(psycopg_, "audit", AuditLog())  # with the settings of this test
    psycopg_.refuse("13", 7)
    bound = AuditContext(correlation_id="batch-17")
    assert_recorded(claims, times=2, action="claim.approved", actor="service:import", context=bound)
    assert_recorded(claims, actor="user:13", outcome="denied")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_sqlalchemy_async(claims: psycopg.Connection, dsn: str, driver: str) -> None:
    """An AsyncSession on either driver."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"))
    async with AsyncSession(engine) as session, session.begin():
        await sqlalchemy_.approve_async(session, 7)
    await engine.dispose()
    assert approved(claims)


async def test_who_made_a_captured_change(claims: psycopg.Connection, dsn: str) -> None:
    """Each way to tell it names the actor that is bound."""
    claims.execute("ALTER TABLE claims ADD PRIMARY KEY (id)")
    claims.execute("SELECT pgaudit.add_capture('claims', 'claim', '{id}')")
    psycopg_.approve_captured(claims, 7)
    claims.execute("UPDATE claims SET status = 'open'")
    async with asyncpg.create_pool(url_of(dsn, "postgresql"), min_size=1, max_size=1) as pool:
        await asyncpg_.approve_captured(pool, 7)
    claims.execute("UPDATE claims SET status = 'open'")
    engine = sqlalchemy_.identified_engine(url_of(dsn, "postgresql+psycopg"))
    with bind(actor="user:42"), engine.begin() as conn:
        conn.execute(sqlalchemy_.APPROVE, {"id": 7})
    engine.dispose()
    assert_recorded(claims, times=3, action="claim.updated", actor="user:42", target="claim:7")


def test_sqlalchemy(claims: psycopg.Connection, dsn: str) -> None:
    """A Session, and a Connection of the engine."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    with Session(engine) as session, session.begin():
        sqlalchemy_.approve(session, 7)
    assert approved(claims)
    with engine.begin() as conn:
        sqlalchemy_.approve_with_core(conn, 7)
    engine.dispose()
    assert_recorded(claims, times=2, action="claim.approved")


def test_the_orm_of_sqlalchemy(claims: psycopg.Connection, dsn: str) -> None:
    """An event of the application's own has what has changed; a tracked class needs none."""
    engine = create_engine(url_of(dsn, "postgresql+psycopg"))
    with Session(engine) as session, session.begin():
        sqlalchemy_orm.approve(session, 7)
    changes = [Change(path="status", before="open", after="approved")]
    assert_recorded(claims, action="claim.approved", target="claim:7", changes=changes)
    sqlalchemy_orm.start()
    with Session(engine) as session, session.begin():
        session.get_one(sqlalchemy_orm.Claim, 7).status = "paid"
    engine.dispose()
    classes.tracked.clear()
    changes = [Change(path="status", before="approved", after="paid")]
    assert_recorded(claims, action="claim.updated", target="claim:7", changes=changes)


def test_the_middleware_of_django() -> None:
    """A process with these settings serves: each path leads to a middleware."""
    program = "import django; django.setup(); django.core.handlers.wsgi.WSGIHandler()"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "docs.code.django_"}
    command = [sys.executable, "-c", f"import django.core.handlers.wsgi; {program}"]
    subprocess.run(command, cwd=CODE.parents[1], env=environment, timeout=60, check=True)


def test_a_listener(claims: psycopg.Connection) -> None:
    """What a signal is sent with becomes actor, target and data."""
    with claims.transaction():
        listener_.renew(claims, 7, 42)
    assert_recorded(claims, action="policy.renewed", actor="user:42", target="policy:7", data={"premium": "120.00"})


def test_a_receiver_of_signals(caplog: pytest.LogCaptureFixture) -> None:
    """It hears of each failed and each stalled job. Importing it connects it, so it is imported here."""
    signals_ = importlib.import_module("docs.code.signals_")
    try:
        job_failed.send(job_id=17, error_class="DataCorrupted", sqlstate="XX001")
        job_stalled.send(job_id=18, worker_id=3, stalls=1, failed=False)
    finally:
        for signal in (job_failed, job_stalled):
            signal.disconnect(signals_.page)
    alerts = [record.getMessage() for record in caplog.records if record.name == "alerts"]
    assert [alert[:20] for alert in alerts] == ["job_failed: job 17 {", "job_stalled: job 18 "]


def test_the_life_of_a_claim(claims: psycopg.Connection) -> None:
    """Its events, its fields, and what they were before the change."""
    timeline_.approve(claims, 7)
    run_worker_once(claims)
    (event, field) = timeline_.life(claims, 7)
    assert event.endswith("claim.approved by user:42")
    assert field == "status: approved, since claim.approved"
    before = datetime(2026, 1, 1, tzinfo=UTC)
    assert timeline_.status(claims, 7, before) == "open"
    assert timeline_.status(claims, 8, before) == "unknown"
    assert timeline_.changed_since(claims, 7, before) == ["status"]


def test_an_old_log_is_brought_in_once(claims: psycopg.Connection) -> None:
    """A second run adds nothing; an event that is years old is appended like any other."""
    old: history.OldRow = {
        "id": "1234",
        "action": "claim.approved",
        "user_id": "42",
        "claim_id": "7",
        "created_at": datetime(2019, 5, 1, tzinfo=UTC),
        "payload": {"amount": "1000.00"},
    }
    for _ in range(2):
        history.bring_in(claims, [old])
        run_worker_once(claims)
    rows = claims.execute("SELECT index, occurred_at FROM pgaudit.audit_log").fetchall()
    assert rows == [(0, old["created_at"])]


def test_the_first_steps(dsn: str) -> None:
    """Of a claim that is approved twice there is one event, and the error of the second time."""
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    command = [sys.executable, str(CODE / "first.py"), "7"]
    with worker_process(dsn), psycopg.connect(dsn, autocommit=True) as conn:
        subprocess.run(command, env=environment, timeout=60, check=True)
        wait_until("the log has 1 event", lambda: conn.execute("SELECT size FROM pgaudit.log_head").fetchone() == (1,))
        again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert again.stderr.splitlines()[-1] == "DETAIL:  Key (id)=(7) already exists."
        assert_recorded(conn, action="claim.approved", actor="user:42", target="claim:7", data={"amount": "1000.00"})
