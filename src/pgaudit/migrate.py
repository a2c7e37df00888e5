"""Interim."""

from pathlib import Path

import psycopg

from pgaudit.schema import version_of

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def newest() -> str:
    return "0001"


def current(dsn: str):
    with psycopg.connect(dsn) as conn:
        return version_of(conn)


def upgrade(dsn: str, revision: str = "head") -> None:
    with psycopg.connect(dsn, client_encoding="utf8") as c:
        if version_of(c):
            return
        c.execute(
            "CREATE SCHEMA IF NOT EXISTS pgaudit; CREATE TABLE pgaudit.alembic_version(version_num text); INSERT INTO pgaudit.alembic_version VALUES ('0001'); CREATE TABLE pgaudit.schema_code(checksum text, version text, applied_at timestamptz)"
        )
        for f in sorted((MIGRATIONS / "versions/0001_initial").glob("*.sql")):
            c.execute(f.read_text().encode())
        c.execute("SET LOCAL check_function_bodies = off")
        for f in sorted((MIGRATIONS / "code").glob("*.sql")):
            c.execute(f.read_text().encode())
