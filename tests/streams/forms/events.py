"""Events as the log has them, for the golden files of the forms: ordinary ones, and those at the edges."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from pgaudit._exact_json import parse_json
from pgaudit.sealing.tree import leaf_hash
from pgaudit.trail.entry import Entry

STAMPS = '"recorded_at": "2026-11-27T08:30:00.250000+00:00", "recorded_by": "claims_app", "xid": "781"'
RECORDED = datetime(2026, 11, 27, 8, 30, 0, 250_000, UTC)

APPROVED = """{"id": "0193ac00-0000-7000-8000-000000000001", "data": {"amount": 1250.00, "currency": "EUR"}, \
"actor": {"id": "42", "name": "Ada Lovelace", "type": "user"}, "action": "claim.approved", \
"reason": "Checked", "tenant": "insurer-7", "changes": [{"path": "status", "after": "approved", "before": \
"open"}], "context": {"ip": "203.0.113.9", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", \
"span_id": "00f067aa0ba902b7", "request_id": "req-1", "session_id": "s-9", \
"user_agent": "Mozilla/5.0", "correlation_id": "c-1"}, \
"outcome": "success", "targets": [{"id": "7", "name": "Water damage", "type": "claim"}], \
"occurred_at": "2026-11-27T08:30:00.123456+00:00", STAMPS, "schema_version": 1}"""
NO_ACTOR = """{"id": "0193ac00-0000-7000-8000-000000000002", "action": "retention.purged", "outcome": "success", \
"occurred_at": "2026-11-27T02:00:00+00:00", STAMPS, "schema_version": 1}"""
MASKED = """{"id": "0193ac00-0000-7000-8000-000000000003", "data": {"iban": "***"}, "actor": {"id": "payments", \
"type": "service", "on_behalf_of": "user:42"}, "action": "user.updated", "changes": [{"path": "iban", "after": "***", \
"before": "***"}], "outcome": "success", "targets": [{"id": "ada@example.com", "type": "user"}], \
"occurred_at": "2026-11-27T08:30:00.123456+00:00", STAMPS, "schema_version": 3}"""
MANY_TARGETS = """{"id": "0193ac00-0000-7000-8000-000000000004", "actor": {"id": "42", "type": "user"}, \
"action": "portfolio.claims.moved", "outcome": "failure", "reason": "The portfolio is closed", "targets": \
[{"id": "7", "role": "moved", "type": "claim"}, {"id": "8", "role": "moved", "type": "claim"}, \
{"id": "P-1", "role": "to", "type": "portfolio"}], "occurred_at": "2026-11-27T08:30:00.123456+00:00", STAMPS, \
"schema_version": 1}"""
DENIED = """{"id": "0193ac00-0000-7000-8000-000000000005", "actor": {"id": "eve", "type": "robot"}, "action": \
"claim.viewed", "reason": "Not of her region", "context": {"ip": "unix socket", "client_address": "10.0.0.3"}, \
"outcome": "denied", "targets": [{"id": "7", "type": "claim"}], "occurred_at": "2026-11-27T08:30:00.123456+00:00", \
STAMPS, "schema_version": 1}"""
EXACT_NUMBERS = """{"id": "0193ac00-0000-7000-8000-000000000006", "data": {"rate": 0.10, "total": \
12345678901234567890.1200, "count": 9007199254740993, "negative": -0.0}, "action": "premium.computed", "outcome": \
"success", "targets": [{"id": "P-1", "type": "policy"}], "occurred_at": "1969-12-31T23:59:59.9995+00:00", STAMPS, \
"schema_version": 1}"""
UNICODE = """{"id": "0193ac00-0000-7000-8000-000000000007", "data": {"note": "Ünïcödé 漢字 🦔 \\" \\\\ \\n"}, "actor": \
{"id": "žofie", "name": "Žofie Nováková", "type": "user"}, "action": "note.added", "tenant": "straße", "outcome": \
"success", "targets": [{"id": "7\\u001b[31m\\t漢", "type": "claim"}], \
"occurred_at": "2026-11-27T08:30:00.123456+00:00", STAMPS, "schema_version": 1}"""
CONFLICTING = APPROVED.replace("1250.00", "9.99")
TEXTS = (APPROVED, NO_ACTOR, MASKED, MANY_TARGETS, DENIED, EXACT_NUMBERS, UNICODE, CONFLICTING)


def entry_of(index: int, text: str, conflicts_with: int | None = None) -> Entry:
    """Returns the entry of an event's text, with the columns that the log has for it."""
    text = text.replace("STAMPS", STAMPS)
    event = parse_json(text)
    actor, target = event.get("actor") or {}, (event.get("targets") or [{}])[0]
    return Entry(
        index, UUID(event["id"]), datetime.fromisoformat(event["occurred_at"]), RECORDED,
        RECORDED + timedelta(seconds=1), event["action"], event["outcome"], actor.get("type"), actor.get("id"),
        target.get("type"), target.get("id"), event.get("tenant"), leaf_hash(text.encode()), conflicts_with, text,
    )  # fmt: skip


ENTRIES = [entry_of(index, text, 0 if text is CONFLICTING else None) for index, text in enumerate(TEXTS)]
