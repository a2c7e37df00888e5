"""Queries whose result is a value or rows."""

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
COUNT_JOBS = "SELECT count(*) FROM pgaudit.audit_jobs"
COUNT_JOB_ERRORS = "SELECT count(*) FROM pgaudit.job_error"
LOG_SIZE = "SELECT size FROM pgaudit.log_head"


def value(conn: Connection, query: str, parameters: list[Any] | None = None) -> Any:
    """Returns the one value of a query; None if it has no row."""
    row = conn.execute(query, parameters).fetchone()
    return row[0] if row else None


def value_and_commit(conn: Connection, query: str, parameters: list[Any] | None = None) -> Any:
    """Returns the one value of a query, and commits: the next query sees what others have committed since."""
    found = value(conn, query, parameters)
    conn.commit()
    return found


def rows_and_commit(conn: Connection, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """Returns the rows of a query, and commits: the next query sees what others have committed since."""
    found = conn.execute(query, parameters).fetchall()
    conn.commit()
    return found


def value_in(dsn: str, query: str) -> Any:
    """Returns the one value of a query, on a connection of its own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return value(conn, query)
