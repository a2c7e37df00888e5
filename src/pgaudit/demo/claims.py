"""A small claims application with an audit trail: each change and its event in one transaction.

Run it against a database of yours::

    export PGAUDIT_DSN=postgresql://localhost/claims
    pgaudit migrate
    pgaudit worker &
    python -m pgaudit.demo.claims

``pgaudit demo`` runs the same functions in several processes at once.
"""

import time
from decimal import Decimal
from typing import Any

import psycopg

from pgaudit import AuditEvent, AuditLog, Change, bind, trail

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS claim (
        id      bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        holder  text           NOT NULL,
        amount  numeric(12, 2) NOT NULL,
        status  text           NOT NULL DEFAULT 'submitted',
        version integer        NOT NULL DEFAULT 1  -- how often this claim was changed, its submission included
    )
"""
SUBMIT = "INSERT INTO claim (holder, amount) VALUES (%s, %s) RETURNING id"
MOVE = """
    UPDATE claim SET status = %s, version = version + 1
     WHERE id = %s AND status = %s RETURNING version
"""

audit = AuditLog()  # settings from PGAUDIT_*; no I/O until it is used


class WrongStatus(Exception):
    """The claim is not, or no longer, in the status that this step starts from."""


def submit(conn: psycopg.Connection[Any], holder: str, amount: Decimal) -> int:
    """Submits a claim for an amount. Returns the number of the new claim."""
    with conn.transaction():
        (claim,) = conn.execute(SUBMIT, [holder, amount]).fetchone() or (0,)
        event = AuditEvent(action="claim.submitted", target=f"claim:{claim}", data={"version": 1, "amount": amount})
        audit.record(conn, event)
    return int(claim)


def approve(conn: psycopg.Connection[Any], claim: int, amount: Decimal) -> None:
    """The claim will be paid, up to that amount."""
    move(conn, claim, "submitted", "approved", approval_amount=amount)


def reject(conn: psycopg.Connection[Any], claim: int, reason: str) -> None:
    """The claim will not be paid."""
    move(conn, claim, "submitted", "rejected", reason=reason)


def settle(conn: psycopg.Connection[Any], claim: int, payment: str) -> None:
    """The claim has been paid."""
    move(conn, claim, "approved", "settled", payment=payment)


def move(conn: psycopg.Connection[Any], claim: int, before: str, after: str, **data: Any) -> None:
    """Changes the status and records that: both are committed, or neither."""
    with conn.transaction():
        row = conn.execute(MOVE, [after, claim, before]).fetchone()
        if row is None:
            raise WrongStatus(f"claim {claim} is not {before}: it cannot become {after}")
        status = Change(path="status", before=before, after=after)
        data["version"] = row[0]
        audit.record(conn, AuditEvent(action=f"claim.{after}", target=f"claim:{claim}", changes=(status,), data=data))


def trail_of(conn: psycopg.Connection[Any], claim: int, events: int) -> list[trail.Entry]:
    """The trail of a claim, once a worker has put that many events into the log, or after ten seconds."""
    end = time.monotonic() + 10
    while len(entries := trail.of_target(conn, "claim", str(claim))) < events and time.monotonic() < end:
        time.sleep(0.1)
    return entries


def main() -> None:
    """Takes one claim from its submission to its payment, and prints its trail."""
    with psycopg.connect(audit.settings.conninfo, autocommit=True) as conn:
        conn.execute(CREATE_TABLE)
        with bind(actor="customer:ada", request_id="r-1"):  # what all events of a request have in common
            claim = submit(conn, "Ada", Decimal("1200.00"))
        with bind(actor="clerk:42", request_id="r-2"):
            approve(conn, claim, Decimal("1000.00"))
        with bind(actor="service:payments", request_id="r-3"):
            with conn.transaction(force_rollback=True):  # the bank declines: of this payment nothing remains,
                settle(conn, claim, "pay-1")  # neither the change nor its event
            settle(conn, claim, "pay-2")
        entries = trail_of(conn, claim, events=3)
    for entry in entries:
        print(f"{entry.index:>6}  {entry.action:<16} {entry.actor:<16} {entry.event['data']}")
    if len(entries) < 3:
        print("The rest waits in the queue for a worker: run `pgaudit worker`.")


if __name__ == "__main__":
    main()
