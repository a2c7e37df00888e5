"""Reading the log: searching it, and the life of one thing in it.

=================  ========================================================================================
``paging``         pages of what a query finds, and their number
``finding``        one event, and everything that a query finds
``reading``        the newest events, those after an index, those of one target or actor
``timelines``      the life of one thing with its state, and what one actor has done
``named_cursors``  cursors that the database keeps under a name
``following``      follows the log, and waits for what comes
``chunks``         reads onwards from an index, a bounded number of rows and bytes at a time
``export``         from a query to a file
``query``          what a search asks for, and its text form; ``fields`` has the fields, ``values`` checks their values
``page_cursor``    where a page begins
``entry``          one event in the log
``bounded``        searches that read a bounded number of rows
``looks``          looks through the log for a query, a bounded number of rows at a time
``scans``          the indexes that find events
``statements``     the statements of a search
``spans``          the parts of the log that may hold what is searched for
``conditions``     the terms of a query as SQL
=================  ========================================================================================
"""

from pgaudit.errors import InvalidQuery
from pgaudit.trail.bounded import Stop
from pgaudit.trail.entry import Entry
from pgaudit.trail.finding import find, find_async, pages
from pgaudit.trail.following import stream
from pgaudit.trail.named_cursors import NamedCursor, cursor, cursor_async
from pgaudit.trail.paging import Count, Page, count, search, search_async
from pgaudit.trail.query import Query, Term, parse
from pgaudit.trail.reading import after, last, of_actor, of_target
from pgaudit.trail.timelines import (
    ActorTimeline,
    Contradiction,
    FieldDifference,
    Moment,
    Timeline,
    Told,
    actor_timeline,
    actor_timeline_async,
    timeline,
    timeline_async,
)

__all__ = [
    "ActorTimeline",
    "Contradiction",
    "Count",
    "Entry",
    "FieldDifference",
    "InvalidQuery",
    "Moment",
    "NamedCursor",
    "Page",
    "Query",
    "Stop",
    "Term",
    "Timeline",
    "Told",
    "actor_timeline",
    "actor_timeline_async",
    "after",
    "count",
    "cursor",
    "cursor_async",
    "find",
    "find_async",
    "last",
    "of_actor",
    "of_target",
    "pages",
    "parse",
    "search",
    "search_async",
    "stream",
    "timeline",
    "timeline_async",
]
