"""A writer process of the application: ``python writer.py DSN SECONDS SEED``.

It changes claims and records the changes, commits or rolls back at random, and connects again when the
database was away. The table claim_change holds the ids of the events that must be in the log.
"""

import random
import sys
import time

import psycopg

from pgaudit import AuditEvent, AuditLog, Change

audit = AuditLog()


def change_claim(conn: psycopg.Connection, dice: random.Random) -> None:
    """One business transaction: some changes, some of them taken back to a savepoint, and a decision."""
    for _ in range(dice.randint(1, 4)):
        with conn.transaction(force_rollback=dice.random() < 0.1):
            change_one(conn, dice.randint(1, 50))
    if dice.random() < 0.2:
        conn.rollback()
    else:
        conn.commit()


def change_one(conn: psycopg.Connection, claim: int) -> None:
    """A change of a claim, and its event."""
    event = AuditEvent(action="claim.changed", target=f"claim:{claim}", changes=(Change(path="version"),))
    conn.execute("UPDATE claim SET version = version + 1 WHERE id = %s", [claim])
    conn.execute("INSERT INTO claim_change VALUES (%s)", [event.id])
    audit.record(conn, event)


def main(dsn: str, seconds: float, seed: int) -> None:
    """Changes claims for that long, whatever happens to the database."""
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with psycopg.connect(dsn) as conn:
                while time.monotonic() < end:
                    change_claim(conn, dice)
        except psycopg.OperationalError:
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
