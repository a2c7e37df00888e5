"""Roles that exist for one test. Roles belong to the server: other databases on it see them, too."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg


@contextmanager
def temporary_roles(dsn: str, *names: str) -> Generator[None]:
    """Creates roles that can log in; drops them, and their rights in this database, at the end of the block."""
    with psycopg.connect(dsn, autocommit=True) as superuser:
        for name in names:
            superuser.execute(f"CREATE ROLE {name} LOGIN")
    try:
        yield
    finally:
        with psycopg.connect(dsn, autocommit=True) as superuser:
            for name in names:
                superuser.execute(f"DROP OWNED BY {name} CASCADE")
                superuser.execute(f"DROP ROLE {name}")
