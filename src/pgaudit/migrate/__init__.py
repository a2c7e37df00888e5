"""Brings the database to the schema that this version needs, prints how, and takes it back.

Alembic keeps the list of revisions, in a version table of its own: the application's migrations neither see ours nor
are seen. Nothing of Alembic's global state is used, so ``upgrade`` works inside a revision of the application.
"""

import psycopg

from pgaudit._schema.state import MIGRATIONS, SCRIPTS, state_of
from pgaudit.migrate.printing import sql
from pgaudit.migrate.removing import downgrade, uninstall
from pgaudit.migrate.upgrading import Migration, upgrade

__all__ = ["MIGRATIONS", "Migration", "current", "downgrade", "newest", "sql", "uninstall", "upgrade"]


def newest() -> str:
    """Returns the revision that this version of pgaudit needs."""
    return SCRIPTS.revisions[-1]


def current(dsn: str) -> str | None:
    """Returns the revision that the database has; None when pgaudit is not installed in it."""
    with psycopg.connect(dsn) as conn:
        state = state_of(conn)
    return state.revision if state else None
