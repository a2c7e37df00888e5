"""Listeners in asynchronous code: what is awaited is recorded, in the sender's transaction."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from blinker import Signal
from django.dispatch import Signal as DjangoSignal
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from pgaudit import AuditLog, NotInTransaction, Settings, UnknownConnection, bind
from pgaudit.claims import ClaimAuditListener, claim_approved
from pgaudit.listener import AsyncAuditListener, AuditListener, await_in_loop
from pgaudit.testing.database import url_of

pytestmark = pytest.mark.anyio
EVENTS = "SELECT event FROM pgaudit.audit_jobs ORDER BY id"
Opened = Callable[[str], Any]


class TakenBack(Exception):
    """Rolls back what it is raised in."""


def recorded(dsn: str) -> list[dict[str, Any]]:
    """The events whose transactions have committed."""
    with psycopg.connect(dsn) as conn:
        return [event for (event,) in conn.execute(EVENTS)]


@asynccontextmanager
async def of_psycopg(dsn: str) -> AsyncGenerator[Any]:
    """A psycopg connection, in a transaction that ends with the block."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        yield conn


@asynccontextmanager
async def of_asyncpg(dsn: str) -> AsyncGenerator[Any]:
    """The same with asyncpg."""
    info = psycopg.conninfo.conninfo_to_dict(dsn)
    conn = await asyncpg.connect(host=info["host"], port=info["port"], user=info["user"], database=info["dbname"])
    try:
        async with conn.transaction():
            yield conn
    finally:
        await conn.close()


@asynccontextmanager
async def of_sqlalchemy(dsn: str) -> AsyncGenerator[Any]:
    """The same with a session of SQLAlchemy's."""
    engine = create_async_engine(url_of(dsn, "postgresql+psycopg"))
    try:
        async with AsyncSession(engine) as session, session.begin():
            yield session
    finally:
        await engine.dispose()


@pytest.fixture
def listener(settings: Settings) -> Iterator[ClaimAuditListener]:
    """A listener to the four claim signals."""
    listener = ClaimAuditListener(AuditLog(settings))
    yield listener
    listener.disconnect()


@pytest.mark.parametrize("opened", [of_psycopg, of_asyncpg, of_sqlalchemy])
async def test_a_signal_is_recorded_by_its_asynchronous_sender(dsn: str, settings: Settings, opened: Opened) -> None:
    """What is sent becomes actor, target and data; committed and rolled back with the sender's transaction."""
    renewed = Signal()
    listener = AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")
    async with opened(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=7, user_id=42, premium="120.00")
    with pytest.raises(TakenBack):
        async with opened(dsn) as conn:
            await renewed.send_async(conn=conn, policy_id=8)
            raise TakenBack
    listener.disconnect()
    async with opened(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=9)
    (event,) = recorded(dsn)
    assert (event["action"], event["data"]) == ("policy.renewed", {"premium": "120.00"})
    assert (event["actor"]["id"], event["targets"]) == ("42", [{"type": "policy", "id": "7"}])


async def test_django_signals_are_awaited(dsn: str, settings: Settings) -> None:
    """With ``asend``, which makes a task of each receiver: what is bound reaches the event all the same."""
    lapsed = DjangoSignal()
    AsyncAuditListener(AuditLog(settings), {lapsed: "policy.lapsed"}, target_type="policy")
    async with of_psycopg(dsn) as conn:
        with bind(request_id="r-1"):
            await lapsed.asend(sender=object, conn=conn, policy_id=9, actor="service:renewals")
    (event,) = recorded(dsn)
    assert (event["actor"]["id"], event["context"]) == ("renewals", {"request_id": "r-1"})
    assert "data" not in event


async def test_an_emitter_that_awaits_its_handlers_works(dsn: str, settings: Settings) -> None:
    """Names of events stand for actions."""
    emitter = Emitter()
    AsyncAuditListener(AuditLog(settings), {"claimApproved": "claim.approved"}, target_type="claim").listen(emitter)
    async with of_psycopg(dsn) as conn:
        await emitter.emit("claimApproved", conn=conn, target="claim:7")
    assert [event["action"] for event in recorded(dsn)] == ["claim.approved"]


class Emitter:
    """The smallest of event emitters whose handlers are awaited."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[..., Awaitable[None]]]] = defaultdict(list)

    def on(self, event: str, f: Callable[..., Awaitable[None]]) -> None:
        """Keeps the handler."""
        self._handlers[event].append(f)

    async def emit(self, event: str, **payload: Any) -> None:
        """Awaits every handler of that name."""
        for handler in self._handlers[event]:
            await handler(**payload)


@pytest.mark.usefixtures("listener")
async def test_a_claim_signal_goes_both_ways(dsn: str) -> None:
    """One listener: sent with a synchronous connection, awaited with an asynchronous one, recorded once each."""
    with psycopg.connect(dsn) as conn:
        claim_approved.send(conn=conn, claim_id=7, user_id=42)
    async with of_sqlalchemy(dsn) as session:
        await claim_approved.send_async(conn=session, claim_id=8, user_id=42)
    assert [event["targets"][0]["id"] for event in recorded(dsn)] == ["7", "8"]


async def test_any_signal_of_blinkers_can_go_both_ways(dsn: str, settings: Settings) -> None:
    """With ``await_in_loop`` as wrapper; other receivers are called, too."""
    renewed = Signal()
    told: list[int] = []
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")

    @renewed.connect
    def tell(_sender: object, *, conn: object, policy_id: int) -> None:
        assert conn
        told.append(policy_id)

    with psycopg.connect(dsn) as conn:
        renewed.send(conn=conn, policy_id=7)
    async with of_psycopg(dsn) as async_conn:
        await renewed.send_async(conn=async_conn, policy_id=8, _sync_wrapper=await_in_loop)
    assert [event["targets"][0]["id"] for event in recorded(dsn)] == ["7", "8"]
    assert told == [7, 8]


@pytest.mark.usefixtures("listener")
async def test_an_asynchronous_connection_is_refused_where_nobody_awaits(dsn: str, settings: Settings) -> None:
    """The message names the listener, and the way to send, that take it."""
    renewed = Signal()
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    async with of_psycopg(dsn) as conn:
        for signal in (renewed, claim_approved):
            with pytest.raises(UnknownConnection, match=r"AsyncConnection is asynchronous.*send_async.*AsyncAuditLis"):
                signal.send(conn=conn, claim_id=7)
    assert recorded(dsn) == []


@pytest.mark.usefixtures("listener")
async def test_a_synchronous_connection_is_refused_where_the_loop_would_wait(dsn: str, settings: Settings) -> None:
    """The message names the synchronous way."""
    renewed = Signal()
    AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    with psycopg.connect(dsn) as conn:
        for signal in (renewed, claim_approved):
            with pytest.raises(UnknownConnection, match=r"Connection is synchronous.*signal\.send\(.* an AuditLis"):
                await signal.send_async(conn=conn, claim_id=7)
    assert recorded(dsn) == []


async def test_an_error_in_recording_reaches_the_awaiting_sender(dsn: str, settings: Settings) -> None:
    """There is no change without its event."""
    renewed = Signal()
    AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            await renewed.send_async(conn=conn)


async def test_a_second_listener_takes_the_place_of_the_first(dsn: str, settings: Settings) -> None:
    """Asynchronous ones, too."""
    renewed = Signal()
    for _ in range(2):
        AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")
    async with of_psycopg(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=7)
    assert len(recorded(dsn)) == 1
