"""Approves 300 claims, and records that: ``python three_hundred.py``."""

import psycopg

from pgaudit import AuditEvent, AuditLog

audit = AuditLog()

with psycopg.connect(audit.settings.conninfo) as conn:
    for claim in range(300):
        event = AuditEvent(action="claim.approved", target=f"claim:{claim}", data={"amount": "100.00"})
        audit.record(conn, event)
