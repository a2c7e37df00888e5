"""Until when the events of a target are sealed."""

from datetime import UTC, datetime, time
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit.sealing.completeness.offline import day_after, target_key
from pgaudit.sealing.completeness.stored_periods import sealed_periods

NEWEST: Final = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
# The periods in which the log has the target: whether its indexes are those of the leaf. And all others, in which there
# must be no leaf.
MATCHES: Final = """
    WITH own AS (
        SELECT index FROM pgaudit.audit_log WHERE target_type = %(type)s AND target_id = %(id)s AND index < %(end)s
        UNION
        SELECT index FROM pgaudit.event_target WHERE type = %(type)s AND id = %(id)s AND index < %(end)s
    ), digest AS (
        SELECT p.period, sha256(string_agg(int8send(own.index), ''::bytea ORDER BY own.index)) AS found
          FROM pgaudit.target_period p JOIN own ON own.index >= p.first_index AND own.index < p.end_index
         WHERE p.period = ANY (%(periods)s) GROUP BY p.period
    )
    SELECT EXISTS (SELECT FROM own) AND bool_and(
               digest.found IS NOT DISTINCT FROM nullif(substr(leaf.digests, nullif(leaf.place, 0), 32), ''::bytea))
      FROM unnest(%(periods)s::text[]) sealed (period) LEFT JOIN digest ON digest.period = sealed.period
           LEFT JOIN LATERAL (
               SELECT digests, position(%(key)s::bytea IN keys) AS place FROM pgaudit.target_tile t
                WHERE t.period = sealed.period AND t.first_key <= %(key)s::bytea
                ORDER BY t.first_key DESC LIMIT 1) leaf ON true
"""


def sealed_until(conn: psycopg.Connection[Any], target: tuple[str, str]) -> datetime | None:
    """Returns the midnight until which the events of a target are those in the index of targets.

    Compares with the stored index, which is quick; ``prove`` shows that the index itself is the sealed one.

    :param target: its type and id
    :returns: None if no period is sealed that has the target, or if events of it are missing from the log.
    """
    (size,) = fetch(conn, scalar_row, NEWEST)
    periods = sealed_periods(conn, size)
    if not periods:
        return None
    place: dict[str, object] = {"type": target[0], "id": target[1], "key": target_key(*target)}
    names = [period.period for period in periods]
    matches = fetch(conn, scalar_row, MATCHES, {**place, "end": periods[-1].end_index, "periods": names})
    return datetime.combine(day_after(names[-1]), time(), UTC) if matches == [True] else None
