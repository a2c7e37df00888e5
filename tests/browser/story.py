"""A small insurance company: what its log and its queue hold when a browser opens the dashboard."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import psycopg
from pydantic import SecretStr

from pgaudit import AuditEvent, AuditLog, Change, Settings
from pgaudit.events import Actor, AuditContext, Target
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.worker.sealing import anchor_once
from pgaudit.worker.verification import verify_once
from tests.support.jobs import let_jobs_be_edited, record_and_commit, register_and_commit
from tests.support.sealing import signing
from tests.support.worker import drain

CLERKS: Final = (("17", "Ada Okafor"), ("23", "Béla Tóth"), ("42", "Chen Wei"), ("58", "Dora Lindqvist"))
TENANTS: Final = ("north", "south", "west")
BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
BEGIN: Final = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
OTHERS: Final = 140
FIRST_FAILED: Final = 147  # ids of jobs begin with 1
SPOIL: Final = """UPDATE pgaudit.audit_jobs SET event = event || '{"tenant": "south"}' WHERE status = 'todo'"""
LETTER: Final = "The roof was damaged by hail on the night of 1 March. Two windows are broken, the cellar was flooded."
LIFE: Final[tuple[dict[str, Any], ...]] = (
    {
        "action": "claim.submitted",
        "actor": Actor(type="customer", id="8812", name="Emre Yüksel"),
        "data": {"policy": "HOME-2024-118", "amount": "12500.00", "reference": 12345678901234567890},
        "changes": (
            Change(path="status", before=None, after="submitted"),
            Change(path="amount", before=None, after="12500.00"),
            Change(path="letter", before=None, after=LETTER),
        ),
    },
    {
        "action": "claim.assigned",
        "changes": (Change(path="clerk", before=None, after="user:42"),),
    },
    {
        "action": "claim.approved",
        "outcome": "denied",
        "reason": "Chen Wei may approve up to 10,000.00 without a second signature.",
    },
    {
        "action": "claim.corrected",
        "changes": (
            Change(path="amount", before="12500.00", after="9800.50"),
            Change(path="letter", before=LETTER, after=LETTER.replace("Two windows are", "One window is")),
            Change(path="payee.iban", before="DE89 3704 0044 0532 0130 00", after="DE75 5121 0800 1245 1261 99"),
        ),
    },
    {
        "action": "claim.approved",
        "reason": "The report of the assessor confirms the damage.",
        "changes": (Change(path="status", before="submitted", after="approved"),),
        "data": {
            "approval": {"amount": "9800.50", "currency": "EUR", "signed_by": ["user:42", "user:17"]},
            "checks": [{"name": f"rule {n}", "passed": n != 11, "weight": n / 4} for n in range(1, 15)],
        },
    },
    {
        "action": "claim.paid",
        "actor": Actor(type="service", id="payments"),
        "changes": (Change(path="status", before="approved", after="paid"),),
        "data": {"payment": "pay-2026-000118"},
    },
)


def tell(dsn: str) -> None:
    """Records the story and lets a worker persist it: some jobs fail, one is delayed, two wait.

    Ends before a browser starts: the worker needs an event loop of its own.
    """
    with psycopg.connect(dsn) as conn:
        audit = AuditLog(Settings(dsn=dsn))
        with conn.transaction():
            audit.record(conn, *other_events())
        conn.commit()
        with conn.transaction():
            audit.record(conn, *life_of_claim_7())
        conn.commit()
        asyncio.run(drain(Settings(dsn=dsn)))
        spoil(conn, "claim.paid", "claim.paid", "policy.renewed")
        asyncio.run(drain(Settings(dsn=dsn, job_attempts=1)))
        spoil(conn, "claim.closed")
        asyncio.run(drain(Settings(dsn=dsn, job_backoff_delay=3_600_000, job_backoff_max=86_400_000)))
        record_and_commit(conn, *(AuditEvent(action="claim.reopened", target=f"claim:{n}") for n in (3, 9)))
        register_and_commit(conn, "1 day")


def sealed(dsn: str, directory: Path) -> Settings:
    """Signs the log and verifies it: one anchor has its checkpoint, another does not answer. Returns the settings."""
    anchors = directory / "anchors"
    anchors.mkdir()
    urls = SecretStr(f"file:{anchors},http://127.0.0.1:1/checkpoints")
    signer = signing(Settings(dsn=dsn), directory).model_copy(update={"anchors": urls})
    with psycopg.connect(dsn) as conn:
        seal_and_anchor(conn, signer)
    verify_once(signer)
    return signer


def seal_and_anchor(conn: psycopg.Connection, signer: Settings) -> None:
    """Signs what is in the log, and sends the checkpoint to the anchors."""
    conn.commit()
    conn.autocommit = True
    assert seal(conn, Signer.of(signer)) is not None
    anchor_once(signer)


def spoil(conn: psycopg.Connection, *actions: str) -> None:
    """Records events, and alters them in the queue as only the owner of the table can: no worker persists them."""
    record_and_commit(conn, *(AuditEvent(action=action, target="claim:12", tenant="north") for action in actions))
    let_jobs_be_edited(conn)
    conn.execute(SPOIL)
    conn.execute("ALTER TABLE pgaudit.audit_jobs ENABLE ALWAYS TRIGGER reject_event_update")
    conn.commit()


def life_of_claim_7() -> Iterator[AuditEvent]:
    """Yields the events of one claim, from its submission to its payment."""
    claim = Target(type="claim", id="7", name="Hail damage")
    for step, values in enumerate(LIFE):
        context = AuditContext(request_id=f"r-7{step // 2}", ip="203.0.113.24", user_agent=BROWSER, session_id="s-118")
        given: dict[str, Any] = {
            "actor": Actor(type="user", id="42", name="Chen Wei"),
            "tenant": "north",
            "context": context,
        } | values
        targets = (claim, Target(type="policy", id="HOME-2024-118", role="cover"))
        occurred_at = BEGIN + timedelta(hours=31 * step, minutes=7 * step)
        yield AuditEvent(id=UUID(int=(7 << 76) + (2 << 62) + step), targets=targets, occurred_at=occurred_at, **given)


def other_events(count: int = OTHERS) -> Iterator[AuditEvent]:
    """Yields what happens besides."""
    random = Random(7)
    actions = (
        "claim.submitted",
        "claim.assigned",
        "claim.approved",
        "policy.renewed",
        "invoice.sent",
        "user.logged_in",
    )
    for n in range(count):
        action, (clerk, name) = random.choices(actions, (20, 12, 10, 8, 8, 10))[0], random.choice(CLERKS)
        resource = action.partition(".")[0]
        is_login = resource == "user"
        yield AuditEvent(
            action=action,
            actor=Actor(type="user", id=clerk, name=name) if n % 9 else Actor(type="service", id="nightly-renewal"),
            target=f"user:{clerk}" if is_login else f"{resource}:{random.randrange(20, 90)}",
            outcome=random.choices(("success", "failure", "denied"), (30, 2, 1))[0],
            tenant=random.choice(TENANTS),
            occurred_at=BEGIN - timedelta(minutes=11 * (count - n)),
            context=AuditContext(request_id=f"r-{1000 + n // 2}", ip=f"198.51.100.{n % 250}", user_agent=BROWSER),
            data={} if is_login else {"amount": f"{random.randrange(5_000, 900_000) / 100:.2f}", "channel": "web"},
        )
