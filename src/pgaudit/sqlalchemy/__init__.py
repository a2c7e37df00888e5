"""SQLAlchemy's ORM: the changes of an object, and events for each change of a mapped class.

===========  ==================================================================================
tracking     ``track``: records created, updated and deleted objects of a class in each flush
statements   refuses statements that change rows of such a class without a flush
changes      ``changes_of``: the changes of one object, for an event of the application's own
memory       what a transaction has flushed, because SQLAlchemy forgets it then
attributes   the columns of a class, and their values before and after a flush
===========  ==================================================================================
"""

from pgaudit.sqlalchemy.changes import changes_of
from pgaudit.sqlalchemy.tracking import track

__all__ = ["changes_of", "track"]
