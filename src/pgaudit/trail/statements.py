"""The statements of a search: each looks at the events of one scan, from one end of a span of the log.

Postgres is never left to choose between the order of the log and an index: where it guessed wrong, it would read the
whole span for one page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString

from pgaudit._reading import Statement, Steps
from pgaudit.indexes.expressions import KEPT
from pgaudit.trail.conditions import Condition, any_of, condition_of
from pgaudit.trail.entry import COLUMNS as COLUMNS_OF_ENTRY
from pgaudit.trail.fields import path_of
from pgaudit.trail.query import Query
from pgaudit.trail.scans import Scan

PROBED: Final = 500

SPAN: Final = " index >= %(first)s AND index < %(end)s "
DOWN: Final = " DESC LIMIT %(most)s"
UP: Final = " LIMIT %(most)s"
# An order that the primary key does not have: Postgres collects what the index of documents finds, and sorts it.
UNORDERED: Final = "ORDER BY index + 0"
DOCUMENT: Final = "document"  # begins the names of the parameters of such a search
# The columns of each index before `index`, by field; and the condition of the index, if it has one.
COLUMNS: Final[Mapping[str, tuple[LiteralString, ...]]] = {
    "actor": ("actor_type", "actor_id"),
    "target": ("target_type", "target_id"),
    "action": ("action",),
    "tenant": ("tenant",),
    "outcome": ("outcome",),
}
CONDITIONS: Final[Mapping[str, LiteralString]] = {
    "tenant": "tenant IS NOT NULL AND ",
    "outcome": "outcome <> 'success' AND ",
}
# The same of an index that an operator has added.
TEXT: Final = "event #>> %(path)s::text[]"
CHOSEN_COLUMNS: Final = ("left(" + TEXT + ', %(kept)s) COLLATE "C"',)
CHOSEN_CONDITION: Final = "(" + TEXT + ") IS NOT NULL AND "
FURTHER_TARGETS: Final = "SELECT index FROM pgaudit.event_target WHERE "
SAME_ID: Final = """
    SELECT index FROM (SELECT index FROM pgaudit.event_key WHERE event_id = key.a::uuid
                       UNION SELECT index FROM pgaudit.conflicting_events WHERE event_id = key.a::uuid) same_id WHERE
"""
# What is returned of the rows that were looked at, as the CTE `looked`: one row about all of them, ...
INDEXES: Final = """
    SELECT count(*), min(index), max(index), array_agg(index) FILTER (WHERE matches) FROM looked
"""
# ... or the first events among them that match, each behind the same three numbers; the event is NULL if there is none.
ENTRIES: Final = """, seen AS (
        SELECT count(*) AS examined, min(index) AS least, max(index) AS greatest,
               (array_agg(DISTINCT index ORDER BY index {order}) FILTER (WHERE matches))[:%(wanted)s] AS found
          FROM looked)
    SELECT examined, least, greatest, entry.* FROM seen LEFT JOIN LATERAL (
"""
IN_SPAN: Final = " WHERE index = ANY (found) AND index >= %(first)s AND index < %(end)s) entry ON true ORDER BY index"
# A left join, so that rows which row-level security hides are counted as looked at.
JOINED: Final = """) there LEFT JOIN pgaudit.audit_log
    ON audit_log.index = there.index AND audit_log.index >= %(first)s AND audit_log.index < %(end)s"""


def look_at(  # noqa: PLR0913 - where, how far, and in which direction
    scan: Scan, query: Query, span: range, most: int, *, down: bool, wanted: int | None = None
) -> Statement:
    """Returns the statement that looks at up to ``most`` events of a scan, from one end of a span.

    It returns one row: how many events were looked at, the least and the greatest of their indexes, and the indexes of
    those that meet the other terms of the query, too.

    :param wanted: instead of the indexes, return the columns of as many of these events, one in each row.
    """
    rest = condition_of(query, scan.term)
    looked = "WITH looked AS MATERIALIZED (" + rows_of(scan, rest, DOWN if down else UP) + ")"
    limits: dict[str, Any] = {"first": span.start, "end": span.stop, "most": most}
    parameters = limits | rest.parameters | keys_of(scan)
    if wanted is None:
        return Statement(looked + INDEXES, parameters)
    entries = ENTRIES.replace("{order}", "DESC" if down else "ASC") + COLUMNS_OF_ENTRY + IN_SPAN
    return Statement(looked + entries, parameters | {"wanted": wanted})


def rows_of(scan: Scan, rest: Condition, end: LiteralString) -> LiteralString:
    """Returns the query for the rows of a scan: their index, and whether they match."""
    if scan.term is None:
        return in_log(rest) + SPAN + "ORDER BY index" + end
    field = scan.term.field
    if not scan.keys:
        return in_log(rest) + any_of(scan.term, DOCUMENT).sql + " AND" + SPAN + UNORDERED + end
    if field == "id":
        return of_keys(scan, elsewhere(SAME_ID + SPAN, rest))
    condition: LiteralString = CONDITIONS.get(field, "" if field in COLUMNS else CHOSEN_CONDITION)
    rows = of_keys(scan, in_log(rest) + condition + of_index(COLUMNS.get(field, CHOSEN_COLUMNS), end))
    if field == "target":
        further = elsewhere(FURTHER_TARGETS + of_index(("type", "id"), end), rest)
        return rows + " UNION ALL " + of_keys(scan, further) + " ORDER BY index" + end
    return rows if scan.width == 1 else rows + " ORDER BY index" + end


def in_log(rest: Condition) -> LiteralString:
    """Returns the beginning of a query for rows of the log."""
    return "SELECT index, " + rest.sql + " AS matches FROM pgaudit.audit_log WHERE "


def elsewhere(indexes: LiteralString, rest: Condition) -> LiteralString:
    """Returns a query for the rows of the log whose indexes another table has."""
    return "SELECT there.index, audit_log.index IS NOT NULL AND " + rest.sql + " AS matches FROM (" + indexes + JOINED


def of_index(columns: tuple[LiteralString, ...], end: LiteralString) -> LiteralString:
    """Returns the condition that the columns equal the key, and an order that one index alone can give.

    With an equality, and in the order of ``index``, Postgres would use the primary key where it believes the key to be
    frequent.
    """
    row = "(" + ", ".join(columns) + ", index)"
    key: LiteralString = "(key.a, key.b, " if len(columns) > 1 else "(key.a, "
    order = ", ".join([column + (" DESC" if end == DOWN else "") for column in columns])
    low, high = row + " >= " + key + "%(first)s)", row + " < " + key + "%(end)s)"
    return low + " AND " + high + " AND" + SPAN + "ORDER BY " + order + ", index" + end


def of_keys(scan: Scan, rows: LiteralString) -> LiteralString:
    """Returns a query for the rows of each key."""
    if scan.width == 1:
        rows = rows.replace("key.a", "%(a)s::text").replace("key.b", "%(b)s::text")
        return "SELECT index, matches FROM (" + rows + ") one"
    return "SELECT index, matches FROM unnest(%(a)s::text[], %(b)s::text[]) AS key (a, b), LATERAL (" + rows + ") one"


def keys_of(scan: Scan) -> dict[str, Any]:
    """Returns the parameters for the keys of a scan."""
    path = path_of(scan.term.field) if scan.term else []
    a, b = [a for a, _ in scan.keys], [b for _, b in scan.keys]
    keys = {"a": a, "b": b} if len(scan.keys) != 1 else {"a": a[0], "b": b[0]}
    documents = {} if scan.term is None or scan.keys else any_of(scan.term, DOCUMENT).parameters
    return {**keys, **documents, "path": path, "kept": KEPT}


def fewest(scans: Sequence[Scan], span: range) -> Steps[tuple[Scan, bool]]:
    """Finds the scan with the fewest events in a span, and whether these are few: fewer than ``PROBED``."""
    counts: list[int] = []
    for scan in scans:
        ((count, *_),) = yield look_at(scan, Query(), span, PROBED, down=True)
        counts.append(count)
    count, best = min(zip(counts, scans, strict=True), key=lambda pair: (pair[0], pair[1].width))
    return best, count < PROBED
