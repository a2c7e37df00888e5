"""Tables of the application whose changes are captured as events, or guarded: not changed without an event.

==============  ==========================================================================
``captures``    adds, pauses and removes capture: triggers that record an event for each row
``guards``      the same for guards, which refuse a change without its event
``coverage``    which tables are captured or guarded, and what passed without an event
``statements``  captures and guards as SQL, for the migrations of the application
``alembic``     operations for Alembic: ``import pgaudit.guard.alembic``
``example``     an event as a captured table gives it
``changing``    how triggers are changed without keeping writers waiting
``tables``      what captured and guarded tables have in common
==============  ==========================================================================
"""

from pgaudit.guard import captures, coverage, guards
from pgaudit.guard.captures import Capture
from pgaudit.guard.coverage import Coverage, TableCoverage, UnrecordedChange
from pgaudit.guard.guards import Guard, is_unrecorded

__all__ = [
    "Capture",
    "Coverage",
    "Guard",
    "TableCoverage",
    "UnrecordedChange",
    "captures",
    "coverage",
    "guards",
    "is_unrecorded",
]
