"""Claims over HTTP: FastAPI, SQLAlchemy's AsyncSession, signals that become events, and the worker in the event loop.

Run it in a clone, against the Postgres that ``embedded:data`` starts in the directory ``data``::

    pip install ".[all]" fastapi "sqlalchemy[asyncio]"
    export PGAUDIT_DSN=embedded:data
    pgaudit migrate
    uvicorn --app-dir examples/fastapi_sqlalchemy --no-proxy-headers app:app

    curl -H "X-User: ada" --json '{"holder": "Ada", "amount": "250.00"}' localhost:8000/claims
    curl -H "X-User: bob" -X POST localhost:8000/claims/1/approve
    curl localhost:8000/audit/api/v1/health/queues
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated

import psycopg
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import Numeric
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgaudit import AuditLog, worker
from pgaudit.claims import ClaimAuditListener, claim_approved, claim_submitted
from pgaudit.middleware import AsgiMiddleware
from pgaudit.web import create_app

audit = AuditLog()  # settings from PGAUDIT_*; no I/O until it is used
ClaimAuditListener(audit)  # from now on, each of the claim signals is an event


async def connect() -> psycopg.AsyncConnection:
    """A connection to the database that the trail is in: one transaction holds both."""
    return await psycopg.AsyncConnection.connect(audit.settings.conninfo)


engine = create_async_engine("postgresql+psycopg://", async_creator=connect)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The application's tables."""


class Claim(Base):
    """Submits a claim for an amount."""

    __tablename__ = "claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    status: Mapped[str] = mapped_column(default="submitted")


class NewClaim(BaseModel):
    """What is sent to submit a claim."""

    holder: str
    amount: Decimal = Field(gt=0, max_digits=12, decimal_places=2)


# Who is asking. A header is anybody's word: your authentication takes its place.
User = Annotated[str, Header(alias="X-User")]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Creates the tables, and runs a worker for as long as the application serves."""
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    async with worker.running():
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(AsgiMiddleware)  # gives each event its request's id, trace, address and user agent
app.mount("/audit", create_app())  # health, metrics and statistics of the trail


@app.post("/claims", status_code=201)
async def submit(new: NewClaim, user: User) -> dict[str, object]:
    """Submits a claim."""
    async with sessions.begin() as session:
        claim = Claim(holder=new.holder, amount=new.amount)
        session.add(claim)
        await session.flush()  # it has its id now
        await claim_submitted.send_async(conn=session, claim_id=claim.id, user_id=user, amount=claim.amount)
    return {"id": claim.id, "status": claim.status}


@app.post("/claims/{claim_id}/approve")
async def approve(claim_id: int, user: User) -> dict[str, object]:
    """Approves a claim and has it paid; when the bank declines, neither the change nor its event remains."""
    async with sessions.begin() as session:
        claim = await session.get(Claim, claim_id, with_for_update=True)
        if claim is None or claim.status != "submitted":
            raise HTTPException(404, f"no claim {claim_id} waits for an approval")
        claim.status = "approved"
        await claim_approved.send_async(conn=session, claim_id=claim_id, user_id=user, amount=claim.amount)
        pay(claim.amount)
    return {"id": claim.id, "status": claim.status}


def pay(amount: Decimal) -> None:
    """Stands for the bank."""
    if amount > 1000:
        raise HTTPException(409, f"the bank declines to pay {amount}")
