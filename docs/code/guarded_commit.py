"""Tells a user that a change was refused because the code did not record it."""

import logging

import psycopg

from pgaudit.guard import is_unrecorded


def save(dsn: str, statement: str) -> bool:
    """Returns whether the change was committed. The error comes from COMMIT, which is inside the ``try``."""
    conn = psycopg.connect(dsn)
    try:
        conn.execute(statement.encode())
        conn.commit()
    except psycopg.Error as error:
        if not is_unrecorded(error):
            raise
        logging.getLogger("claims").warning("A bug: %s. %s", error.diag.message_primary, error.diag.message_hint)
        return False
    finally:
        conn.close()
    return True
