"""One process of the claims application at work: ``python -m pgaudit.demo.workload SECONDS``."""

import random
import sys
import time
from decimal import Decimal
from typing import Any, Final

import psycopg

from pgaudit import bind
from pgaudit.demo import claims

CREATE_SEQUENCE: Final = "CREATE SEQUENCE IF NOT EXISTS claim_rolled_back"
# A sequence is the one thing that a rollback leaves as it is: it counts what leaves no trace.
COUNT_ROLLBACK: Final = "SELECT nextval('claim_rolled_back')"

CLAIMS_PER_SECOND: Final = 100
CUSTOMERS: Final = ("ada", "bela", "chen", "dora", "emre", "finn", "gita", "hugo")
REASONS: Final = ("excluded", "lapsed", "repeated")
REJECTED: Final = 0.2
DECLINED: Final = 0.15


def main() -> None:
    """Handles claims at a steady pace, for the seconds that the command line gives."""
    settings = claims.audit.settings
    dice = random.Random()  # noqa: S311 - nothing here is secret
    with psycopg.connect(settings.dsn, autocommit=True, application_name="claims") as conn:
        start = time.monotonic()
        end = start + float(sys.argv[1])
        turn = 0
        while (now := time.monotonic()) < end:
            handle(conn, dice)
            turn += 1
            time.sleep(max(0.0, start + turn / CLAIMS_PER_SECOND - now))


def handle(conn: psycopg.Connection[Any], dice: random.Random) -> None:
    """Takes one claim from its submission to its end."""
    holder = dice.choice(CUSTOMERS)
    amount = Decimal(dice.randrange(5_000, 500_000)) / 100
    with bind(actor=f"customer:{holder}"):
        claim = claims.submit(conn, holder.capitalize(), amount)
    with bind(actor=f"clerk:{dice.randrange(1, 10)}"):
        if dice.random() < REJECTED:
            claims.reject(conn, claim, dice.choice(REASONS))
            return
        claims.approve(conn, claim, amount)
    with bind(actor="service:bank"):
        if dice.random() < DECLINED:
            decline(conn, claim)
        claims.settle(conn, claim, f"pay-{claim}")


def decline(conn: psycopg.Connection[Any], claim: int) -> None:
    """Fails a payment after the claim was settled and the event recorded: both are rolled back."""
    with conn.transaction(force_rollback=True):
        claims.settle(conn, claim, f"declined-{claim}")
        conn.execute(COUNT_ROLLBACK)


if __name__ == "__main__":
    main()
