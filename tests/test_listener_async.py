"""Listeners in asynchronous code: an awaited signal is recorded in the sender's transaction."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from blinker import Signal
from django.dispatch import Signal as DjangoSignal

from pgaudit import AuditLog, NotInTransaction, Settings, UnknownConnection, bind
from pgaudit.claims import ClaimAuditListener, claim_approved
from pgaudit.listener import AsyncAuditListener, AuditListener, await_in_loop
from tests.support.drivers import ASYNC, RollBack, psycopg_async
from tests.support.jobs import queued_events_in

pytestmark = pytest.mark.anyio
Opened = Callable[[str], Any]


@pytest.fixture
def listener(settings: Settings) -> Iterator[ClaimAuditListener]:
    """A listener that is connected to the four claim signals."""
    listener = ClaimAuditListener(AuditLog(settings))
    yield listener
    listener.disconnect()


@pytest.mark.parametrize(
    "opened", [psycopg_async, ASYNC["asyncpg"], ASYNC["psycopg session"]], ids=["psycopg", "asyncpg", "sqlalchemy"]
)
async def test_an_awaited_signal_is_recorded_in_the_senders_transaction(
    dsn: str, settings: Settings, opened: Opened
) -> None:
    """What is sent becomes actor, target and data; a rollback takes the event back."""
    renewed = Signal()
    listener = AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")
    async with opened(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=7, user_id=42, premium="120.00")
    with pytest.raises(RollBack):
        async with opened(dsn) as conn:
            await renewed.send_async(conn=conn, policy_id=8)
            raise RollBack
    listener.disconnect()
    async with opened(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=9)
    (event,) = queued_events_in(dsn)
    assert event["action"] == "policy.renewed"
    assert event["data"] == {"premium": "120.00"}
    assert event["actor"]["id"] == "42"
    assert event["targets"] == [{"type": "policy", "id": "7"}]


async def test_an_awaited_django_signal_inherits_what_is_bound(dsn: str, settings: Settings) -> None:
    """asend() makes a task of each receiver; bound fields still reach the event."""
    lapsed = DjangoSignal()
    AsyncAuditListener(AuditLog(settings), {lapsed: "policy.lapsed"}, target_type="policy")
    async with psycopg_async(dsn) as conn:
        with bind(request_id="r-1"):
            await lapsed.asend(sender=object, conn=conn, policy_id=9, actor="service:renewals")
    (event,) = queued_events_in(dsn)
    assert event["actor"]["id"] == "renewals"
    assert event["context"] == {"request_id": "r-1"}
    assert "data" not in event


async def test_an_event_of_an_awaiting_emitter_is_recorded(dsn: str, settings: Settings) -> None:
    """listen() registers an asynchronous handler for each name of an event."""
    emitter = Emitter()
    AsyncAuditListener(AuditLog(settings), {"claimApproved": "claim.approved"}, target_type="claim").listen(emitter)
    async with psycopg_async(dsn) as conn:
        await emitter.emit("claimApproved", conn=conn, target="claim:7")
    assert [event["action"] for event in queued_events_in(dsn)] == ["claim.approved"]


class Emitter:
    """A minimal event emitter that awaits its handlers."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[..., Awaitable[None]]]] = defaultdict(list)

    def on(self, event: str, f: Callable[..., Awaitable[None]]) -> None:
        """Registers the handler."""
        self._handlers[event].append(f)

    async def emit(self, event: str, **payload: Any) -> None:
        """Awaits every handler of that name."""
        for handler in self._handlers[event]:
            await handler(**payload)


@pytest.mark.usefixtures("listener")
async def test_a_claim_signal_can_be_sent_and_awaited(dsn: str) -> None:
    """One listener records claim signals from synchronous and from asynchronous connections."""
    with psycopg.connect(dsn) as conn:
        claim_approved.send(conn=conn, claim_id=7, user_id=42)
    async with ASYNC["psycopg session"](dsn) as session:
        await claim_approved.send_async(conn=session, claim_id=8, user_id=42)
    assert [event["targets"][0]["id"] for event in queued_events_in(dsn)] == ["7", "8"]


async def test_any_blinker_signal_can_be_sent_and_awaited(dsn: str, settings: Settings) -> None:
    """With await_in_loop as wrapper a synchronous listener is awaited; other receivers are called as usual."""
    renewed = Signal()
    received: list[int] = []
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")

    @renewed.connect
    def tell(_sender: object, *, conn: object, policy_id: int) -> None:
        assert conn
        received.append(policy_id)

    with psycopg.connect(dsn) as conn:
        renewed.send(conn=conn, policy_id=7)
    async with psycopg_async(dsn) as async_conn:
        await renewed.send_async(conn=async_conn, policy_id=8, _sync_wrapper=await_in_loop)
    assert [event["targets"][0]["id"] for event in queued_events_in(dsn)] == ["7", "8"]
    assert received == [7, 8]


@pytest.mark.usefixtures("listener")
async def test_send_refuses_an_asynchronous_connection(dsn: str, settings: Settings) -> None:
    """The message names send_async and AsyncAuditListener."""
    renewed = Signal()
    AuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    async with psycopg_async(dsn) as conn:
        for signal in (renewed, claim_approved):
            with pytest.raises(UnknownConnection, match=r"AsyncConnection is asynchronous.*send_async.*AsyncAuditLis"):
                signal.send(conn=conn, claim_id=7)
    assert queued_events_in(dsn) == []


@pytest.mark.usefixtures("listener")
async def test_send_async_refuses_a_synchronous_connection(dsn: str, settings: Settings) -> None:
    """The message names send() and AuditListener, because a synchronous connection would block the event loop."""
    renewed = Signal()
    AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    with psycopg.connect(dsn) as conn:
        for signal in (renewed, claim_approved):
            with pytest.raises(UnknownConnection, match=r"Connection is synchronous.*signal\.send\(.* an AuditLis"):
                await signal.send_async(conn=conn, claim_id=7)
    assert queued_events_in(dsn) == []


async def test_an_error_in_recording_reaches_the_awaiting_sender(dsn: str, settings: Settings) -> None:
    """Awaiting a signal fails when its event cannot be recorded."""
    renewed = Signal()
    AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"})
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            await renewed.send_async(conn=conn)


async def test_a_second_async_listener_replaces_the_first(dsn: str, settings: Settings) -> None:
    """A second listener for the same signal and action replaces the first."""
    renewed = Signal()
    for _ in range(2):
        AsyncAuditListener(AuditLog(settings), {renewed: "policy.renewed"}, target_type="policy")
    async with psycopg_async(dsn) as conn:
        await renewed.send_async(conn=conn, policy_id=7)
    assert len(queued_events_in(dsn)) == 1
