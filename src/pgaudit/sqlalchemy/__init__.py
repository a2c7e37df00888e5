"""For applications on SQLAlchemy: their transactions say who makes a change, for the triggers that capture it.

>>> engine = create_engine("postgresql+psycopg:///claims")
>>> identify_transactions(engine)
"""

from pgaudit.sqlalchemy.transactions import identify_transactions

__all__ = ["identify_transactions"]
