"""track, in asynchronous sessions."""

import asyncio

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from pgaudit import AuditLog, UntrackedChange
from pgaudit.recording.context import Request
from pgaudit.testing.database import url_of
from tests.sqlalchemy.conftest import Recorded, sides
from tests.sqlalchemy.models import Claim, Tag


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.usefixtures("audit")
async def test_asynchronous_sessions_are_tracked(recorded: Recorded, dsn: str, driver: str) -> None:
    """On both drivers; a statement without objects is refused there, too."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"))
    async with AsyncSession(engine, expire_on_commit=False) as asynchronous:
        claim = Claim(id=7, tags=[Tag(id=1)])
        asynchronous.add(claim)
        await asynchronous.commit()
        claim.note = "y"
        await asynchronous.commit()
        with pytest.raises(UntrackedChange):
            await asynchronous.execute(delete(Claim))
    await engine.dispose()
    assert sides(recorded()[2]) == {"note": {"before": None, "after": "y"}, "updates": {"before": 0, "after": 1}}


async def test_an_actor_that_has_to_be_awaited_is_found(recorded: Recorded, audit: AuditLog, dsn: str) -> None:
    """That of an asynchronous request, which a flush finds as record_async does."""

    async def find() -> str:
        await asyncio.sleep(0)
        return "user:42"

    engine = create_async_engine(url_of(dsn, "postgresql+asyncpg"))
    async with AsyncSession(engine) as session:
        with Request({"request_id": "r-1"}, lookup_async=find).serving():
            session.add(Claim(id=7))
            await session.commit()
    await engine.dispose()
    assert audit
    (entry,) = recorded()
    assert str(entry.actor) == "user:42"
