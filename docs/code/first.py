"""Approves a claim, and records that in the same transaction: ``python first.py 7``."""

import sys

import psycopg

from pgaudit import AuditEvent, AuditLog, bind

audit = AuditLog()


def approve(conn: psycopg.Connection, claim: int) -> None:
    """Commits both, or neither: for a claim that exists already, no event is recorded."""
    with conn.transaction():
        audit.record(conn, AuditEvent(action="claim.approved", target=f"claim:{claim}", data={"amount": "1000.00"}))
        conn.execute("INSERT INTO claims VALUES (%s, 'approved')", [claim])


with psycopg.connect(audit.settings.conninfo, autocommit=True) as conn:
    conn.execute("CREATE TABLE IF NOT EXISTS claims (id bigint PRIMARY KEY, status text)")
    with bind(actor="user:42"):
        approve(conn, int(sys.argv[1]))
