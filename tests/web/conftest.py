"""The application under a real server, over a migrated database."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from pgaudit import Settings
from pgaudit.web import create_app
from tests.support.http import BEARER, TOKEN, client_of
from tests.support.jobs import insert_poison


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a token and a spool of their own."""
    return Settings(dsn=dsn, admin_token=TOKEN, spool_dir=tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client without a token."""
    with client_of(create_app(settings)) as client:
        yield client


@pytest.fixture
def admin(client: httpx.Client) -> httpx.Client:
    """A client that sends the token."""
    client.headers.update(BEARER)
    return client


@pytest.fixture
def failed_job(conn: psycopg.Connection) -> int:
    """The id of a job that has failed."""
    job = insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3")
    conn.commit()
    return job
