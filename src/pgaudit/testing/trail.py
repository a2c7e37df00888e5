"""The audit trail as a connection sees it: the log, and what waits to get there."""

import json
from typing import Final
from uuid import UUID

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import driver_of
from pgaudit.events import AuditEvent

# As text: the connection may have its own way to load JSON, as Django's has.
SELECT_EVENTS: Final = """
    SELECT event::text
      FROM (SELECT event, 0 AS place, index AS number FROM pgaudit.audit_log
            UNION ALL
            SELECT event, 1, id FROM pgaudit.audit_jobs WHERE jsonb_typeof(event) = 'object') recorded
     ORDER BY place, number
"""


def events_of(conn: object) -> list[AuditEvent]:
    """Returns the events of the log and of the queue, in their order; an event that was recorded twice is there once.

    :raises UnknownConnection: there is no synchronous psycopg connection below it.
    """
    driver = driver_of(conn)
    with driver.transaction(), psycopg.Cursor(driver, row_factory=scalar_row) as cursor:
        documents = cursor.execute(SELECT_EVENTS).fetchall()
    events = [AuditEvent.from_log(json.loads(document)) for document in documents]
    return list({identity_of(event): event for event in reversed(events)}.values())[::-1]


def identity_of(event: AuditEvent) -> tuple[UUID, str]:
    """Returns what makes an event be stored once: its id and its content, without the span."""
    context = event.context and event.context.model_copy(update={"trace_id": None, "span_id": None})
    return event.id, event.model_copy(update={"context": context}).to_json()
