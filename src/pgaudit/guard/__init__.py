"""Tables of the application whose changes are captured as events, or guarded: not changed without an event.

============  ====================================================================
``coverage``  which tables are captured or guarded, and what passed without an event
============  ====================================================================
"""

from pgaudit.guard import coverage
from pgaudit.guard.coverage import Coverage, TableCoverage, UnrecordedChange

__all__ = ["Coverage", "TableCoverage", "UnrecordedChange", "coverage"]
