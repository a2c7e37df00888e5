"""Streams with a past, for pages that show them: one sends, one fails, one is paused, one has parked events."""

from pathlib import Path
from typing import Final

import psycopg

from pgaudit import streams
from pgaudit.streams import positions

URLS: Final = {
    "archive": "file:{directory}/archive",
    "siem": "splunk+https://splunk.security.example.com:8088?token=env:SPLUNK_TOKEN&index=audit&sourcetype=pgaudit",
    "webhook-of-the-insurance-supervision": "https://hooks.supervision.example.org/v2/audit-trail?secret=env:SECRET",
    "otlp": "otlp+https://collector.example.com:4318",
}
PAST: Final = """
    INSERT INTO pgaudit.delivery (stream, status, from_index, to_index, events, bytes, started_at, ended_at)
    SELECT s, 'delivered', n, n, 40 + 30 * sin(n / 9.0 + length(s)), 40000,
           clock_timestamp() - make_interval(mins => n * 15, secs => 1.2),
           clock_timestamp() - make_interval(mins => n * 15)
      FROM unnest('{archive,siem,otlp}'::text[]) s, generate_series(95, 1, -1) n
"""
FAILED: Final = """
    INSERT INTO pgaudit.delivery (stream, status, from_index, to_index, events, attempts, error, started_at, ended_at)
    SELECT 'siem', 'failed', 40, 90, 50, 8 - n, '503 Service Unavailable: the indexer is busy',
           clock_timestamp() - make_interval(mins => 300 + n, secs => 5),
           clock_timestamp() - make_interval(mins => 300 + n)
      FROM generate_series(7, 1, -1) n
"""
LATE: Final = """
    UPDATE pgaudit.stream_position
       SET next_index = 100, attempts = 4, failing_since = clock_timestamp() - interval '9 minutes',
           next_attempt_at = clock_timestamp() + interval '1 minute', error = 'connect: no route to host'
     WHERE name = 'webhook-of-the-insurance-supervision'
"""
PARKED: Final = """SELECT pgaudit.park('siem', '[
    {"index": 12, "target": "claim:29", "error": "400 Bad Request: event exceeds the limit of 64 kB of this index"},
    {"index": 141, "target": "claim:7", "error": "400 Bad Request: <img src=x onerror=alert(1)> field named iban"},
    {"index": 143, "target": "claim:7", "behind": 141}]')"""


def give(conn: psycopg.Connection, directory: Path) -> None:
    """Adds the streams, in the caller's transaction."""
    for name, url in URLS.items():
        query = "action:claim.*,policy.* -outcome:failure" if name == "siem" else ""
        streams.add(conn, name, to=url.format(directory=directory), query=query, ordered=name == "siem")
    for statement in (PAST, FAILED, LATE, PARKED):
        conn.execute(statement.encode())
    conn.execute("UPDATE pgaudit.stream_position SET delivered = 48213, delivered_at = now() WHERE name <> 'archive'")
    positions.pause(conn, "otlp", "refused", "401 Unauthorized: the token is not valid")
    streams.pause(conn, "archive", "the disk is replaced on Friday")
