"""Processors: functions that are called with each event they ask for."""

import sqlite3
from decimal import Decimal
from typing import Any

import pgaudit

SENT: list[dict[str, Any]] = []
LARGE = 100_000


async def send(to: str, subject: str, key: str) -> None:
    """Stands for a mail server: one that sends nothing twice that has the same key."""
    if all(mail["key"] != key for mail in SENT):
        SENT.append({"to": to, "subject": subject, "key": key})


@pgaudit.processor(
    "large-claims",
    on="claim.approved",
    when=lambda entry: Decimal(entry.event["data"]["amount"]) > LARGE,
    retry=pgaudit.Backoff(attempts=8, delay=2, max_delay=300),
    timeout=30,
    concurrency=4,
    rate=20,
)
async def tell_the_board(entry: pgaudit.ProcessorEntry) -> None:
    """Sends a mail about each large claim that was approved."""
    claim = entry.target or "a claim"
    await send("board@example.com", f"{claim} was approved by {entry.actor}", key=entry.idempotency_key)


@pgaudit.processor("search-index", on=["claim.*", "policy.*"], start="beginning")
def index(entry: pgaudit.ProcessorEntry) -> None:
    """Keeps a search index up to date; a synchronous function runs in a thread."""
    if entry.target is None:
        raise pgaudit.Discard("an event without a target is not searched for")
    try:
        with sqlite3.connect("search.db") as search:
            search.execute("CREATE TABLE IF NOT EXISTS events (number PRIMARY KEY, target, action)")
            row = (entry.index, entry.target, entry.action)
            search.execute("INSERT INTO events VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
    except sqlite3.OperationalError as error:
        raise pgaudit.Retry(in_seconds=5, reason="the search index is locked") from error
