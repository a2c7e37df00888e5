"""The audit trail as a connection sees it: the log, and what waits to get there."""

import json
from typing import Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit.events import AuditEvent
from pgaudit.testing.driver import driver_of

# As text: the connection may have its own way to load JSON, as Django's has.
SELECT_EVENTS: Final = """
    SELECT event::text
      FROM (SELECT event, 0 AS place, index AS number FROM pgaudit.audit_log
            UNION ALL
            SELECT args->'event', 1, id FROM pgaudit.procrastinate_jobs
             WHERE queue_name = 'audit' AND jsonb_typeof(args->'event') = 'object') recorded
     ORDER BY place, number
"""


def events_of(conn: object) -> list[AuditEvent]:
    """The events of the log and of the queue, in their order; one that is recorded twice is there once.

    :raises UnknownConnection: there is no synchronous psycopg connection below it.
    """
    driver = driver_of(conn)
    with driver.transaction(), psycopg.Cursor(driver, row_factory=scalar_row) as cursor:
        documents = cursor.execute(SELECT_EVENTS).fetchall()
    events = [AuditEvent.from_log(json.loads(document)) for document in documents]
    return list({event.id: event for event in reversed(events)}.values())[::-1]
