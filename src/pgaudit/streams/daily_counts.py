"""Counts the events of a day in the database, so that the worker reads some thousand rows for ten million events.

The day of an event is that on which it was appended to the log (``persisted_at``). That grows with the index, so a day
is a range of the log, each event is in one report, and a late one is in the next. Where the server's clock was set back
by hours, from one day to another, a day has two ranges, and two reports.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import scalar_row, tuple_row

from pgaudit._driver import fetch
from pgaudit.streams.destinations.report_summary import Count, Day, Group, Summary
from pgaudit.streams.positions import Connection
from pgaudit.trail.conditions import condition_of
from pgaudit.trail.query import parse

MOST_COUNTS: Final = 10_000
MOST_GROUPS: Final = 50
CLOCKS_DIFFER: Final = timedelta(hours=1)  # by less: a clock that is corrected at midnight makes no other reports

# Batches have the time at which each event was appended: exactly, or to the minute, in which no day begins.
PERSISTED: Final = """
    SELECT persisted_at FROM pgaudit.batch WHERE first_index <= %(index)s ORDER BY first_index DESC LIMIT 1
"""
END: Final = """
    SELECT coalesce((SELECT min(first_index) FROM pgaudit.batch
                      WHERE first_index > %(start)s AND (persisted_at >= %(end)s OR persisted_at < %(left)s)), %(size)s)
"""
HASH: Final = "SELECT leaf_hash FROM pgaudit.audit_log WHERE index = %(index)s"
COUNTED: Final = """
    WITH counted AS MATERIALIZED (
        SELECT action, outcome, actor_type || ':' || actor_id AS actor, count(*) AS events, min(index) AS first_index,
               max(index) AS last_index, count(*) FILTER (WHERE occurred_at < %(day)s) AS late
          FROM pgaudit.audit_log
         WHERE index >= %(start)s AND index < %(stop)s AND
"""
GROUPED: Final = """
         GROUP BY action, outcome, actor_type, actor_id
    ), parts AS (
        SELECT grouping(action) AS no_action, grouping(actor) AS no_actor, action, actor, sum(events)::bigint AS events,
               coalesce(sum(events) FILTER (WHERE outcome = 'denied'), 0)::bigint AS denied,
               coalesce(sum(events) FILTER (WHERE outcome = 'failure'), 0)::bigint AS failure
          FROM counted GROUP BY GROUPING SETS ((action), (actor))
    )
    SELECT coalesce((SELECT sum(events)::bigint FROM counted), 0), coalesce((SELECT sum(late)::bigint FROM counted), 0),
           (SELECT coalesce(jsonb_object_agg(outcome, events), '{}')
              FROM (SELECT outcome, sum(events)::bigint AS events FROM counted GROUP BY outcome) by_outcome),
           (SELECT count(*) FROM counted),
           (SELECT coalesce(jsonb_agg(jsonb_build_array(action, outcome, actor, events, first_index, last_index)
                                      ORDER BY events DESC, action, outcome, actor), '[]')
              FROM (SELECT * FROM counted ORDER BY events DESC, action, outcome, actor LIMIT %(most_counts)s) most),
           (SELECT count(*) FROM parts WHERE no_actor = 1),
           (SELECT coalesce(jsonb_agg(jsonb_build_array(action, events, denied, failure)
                                      ORDER BY events DESC, action), '[]')
              FROM (SELECT * FROM parts WHERE no_actor = 1 ORDER BY events DESC, action LIMIT %(most_groups)s) most),
           (SELECT count(*) FROM parts WHERE no_action = 1),
           (SELECT coalesce(jsonb_agg(jsonb_build_array(actor, events, denied, failure)
                                      ORDER BY events DESC, actor), '[]')
              FROM (SELECT * FROM parts WHERE no_action = 1 ORDER BY events DESC, actor LIMIT %(most_groups)s) most)
"""


def persisted_at(conn: Connection, index: int) -> datetime | None:
    """Returns when the event at an index was appended; None if the log has none there."""
    return next(iter(fetch(conn, scalar_row, PERSISTED, {"index": index})), None)


def end_of(conn: Connection, start: int, day: Day, log_size: int) -> int:
    """Returns the index behind the last event from ``start`` on that was appended on that day, one after the other."""
    given: dict[str, object] = {"start": start, "end": day.end, "left": day.start - CLOCKS_DIFFER, "size": log_size}
    (end,) = fetch(conn, scalar_row, END, given)
    return int(end)


def hash_at(conn: Connection, index: int) -> bytes | None:
    """Returns the leaf hash of an event; None if its partition was detached."""
    found = fetch(conn, scalar_row, HASH, {"index": index})
    return bytes(found[0]) if found else None


def summarize(conn: Connection, stream: str, query: str, day: Day, indexes: range) -> Summary:
    """Counts the events of a range that match the query of a stream."""
    condition = condition_of(parse(query))
    given: dict[str, object] = {
        "day": day.start, "start": indexes.start, "stop": indexes.stop, "most_counts": MOST_COUNTS,
        "most_groups": MOST_GROUPS, **condition.parameters,
    }  # fmt: skip
    (row,) = fetch(conn, tuple_row, COUNTED + condition.sql + GROUPED, given)
    events, late, outcomes, kinds, counts, action_count, actions, actor_count, actors = row
    return Summary(
        stream=stream,
        query=query,
        day=day,
        indexes=indexes,
        events=events,
        late=late,
        outcomes=outcomes,
        counts=[Count(*count) for count in counts],
        kinds=kinds,
        actions=groups(actions),
        action_count=action_count,
        actors=groups(actors),
        actor_count=actor_count,
    )


def groups(rows: Sequence[Sequence[Any]]) -> list[Group]:
    """Returns the groups of rows."""
    return [Group(*row) for row in rows]
