"""The smallest whole program: one table, one transaction, one event, and the trail that it leaves.

Run it in a clone, against the Postgres that ``embedded:data`` starts in the directory ``data``::

    pip install ".[all]"
    export PGAUDIT_DSN=embedded:data
    pgaudit migrate
    python examples/plain.py
"""

import time

import psycopg

from pgaudit import AuditEvent, AuditLog, trail, worker

CREATE_TABLE = "CREATE TABLE IF NOT EXISTS policy (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, holder text)"
ISSUE = "INSERT INTO policy (holder) VALUES (%s) RETURNING id"

audit = AuditLog()  # settings from PGAUDIT_*; no I/O until it is used


def issue(conn: psycopg.Connection, holder: str) -> int:
    """Issues a policy and records that: both are committed, or neither."""
    with conn.transaction():
        (policy,) = conn.execute(ISSUE, [holder]).fetchone() or (0,)
        audit.record(conn, AuditEvent(action="policy.issued", actor="clerk:42", target=f"policy:{policy}"))
    return int(policy)


def main() -> None:
    """Issues a policy, and prints its trail as soon as the worker has put the event into the log."""
    with psycopg.connect(audit.settings.conninfo, autocommit=True) as conn, worker.start_in_thread():
        conn.execute(CREATE_TABLE)
        policy = issue(conn, "Ada")
        while not (entries := trail.of_target(conn, "policy", str(policy))):
            time.sleep(0.05)
    for entry in entries:
        print(f"{entry.action} {entry.target} by {entry.actor}")


if __name__ == "__main__":
    main()
