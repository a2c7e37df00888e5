"""For applications on SQLAlchemy: what their ORM changes is recorded, and their transactions say who makes a change.

>>> engine = create_engine("postgresql+psycopg:///claims")
>>> identify_transactions(engine)

============  ==================================================================================
transactions  ``identify_transactions``: names who makes a change, for the triggers that capture it
tracking      ``track``: records created, updated and deleted objects of a class in each flush
statements    refuses statements that change rows of such a class, and are not a flush's
relations     the many-to-many relations of its objects: what a flush changes there, and what it should not
rows          the events of the objects that a flush has written
classes       the classes that are tracked, and their tables
changes       ``changes_of``: the changes of one object, for an event of the application's own
memory        what a transaction has flushed, because SQLAlchemy forgets it then
attributes    the columns of a class, and their values before and after a flush
============  ==================================================================================
"""

from pgaudit.sqlalchemy.changes import changes_of
from pgaudit.sqlalchemy.tracking import track
from pgaudit.sqlalchemy.transactions import identify_transactions

__all__ = ["changes_of", "identify_transactions", "track"]
