"""Recording: from an event of the application into its own transaction.

==============  ===========================================================================
audit_log       ``AuditLog``, the object that an application records with
context         ``bind``: what the events of one request have in common
identification  ``identify``: tells a request, or the triggers of a transaction, who acts
setting         ``audit.context``, in which a transaction is told of it
writing         which statements write
actor           the actor that an application's own function finds
connections     the caller's transaction, in whichever library it was opened
document        the events as JSON documents, checked for size
row_changes     rows that an ORM has changed, as events
row_values      their values, as capture records them
event_size      what is left out of such an event if it is too large
attempt         recording that returns its failure, so that the events can be spooled
autonomous      recording in a transaction of its own
spool           events in a file, while the database refuses them
replay          from that file into the database
capture         events in a list instead of the database, for tests
==============  ===========================================================================
"""

from pgaudit.errors import MissingExtra

try:  # before the modules that need it, so that the error is one sentence on a machine without libpq
    import psycopg  # noqa: F401 # pyright: ignore[reportUnusedImport]
except ImportError as error:
    if "no pq wrapper" not in str(error):
        raise
    raise MissingExtra(
        'pgaudit needs libpq, and psycopg does not find it: pip install "psycopg[binary]", or install libpq'
    ) from None
