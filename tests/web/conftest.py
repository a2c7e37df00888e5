"""Fixtures: the application under a real server, over a migrated database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from starlette.types import ASGIApp

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.server import listening, serving
from tests.postgres.trail import insert_poison

TOKEN = "tökens-of-the-tests"
BEARER = {b"Authorization": f"Bearer {TOKEN}".encode()}


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a token, and a spool of their own."""
    return Settings(dsn=dsn, admin_token=TOKEN, spool_dir=tmp_path)


@contextmanager
def client_of(app: ASGIApp, path: str = "") -> Iterator[httpx.Client]:
    """A client of the application, which Uvicorn serves meanwhile."""
    with listening("127.0.0.1", 0) as listener, serving(app, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield client


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client without a token."""
    with client_of(create_app(settings)) as client:
        yield client


@pytest.fixture
def admin(client: httpx.Client) -> httpx.Client:
    """The client, with the token."""
    client.headers.update(BEARER)
    return client


@pytest.fixture
def failed_job(conn: psycopg.Connection) -> int:
    """A job that has failed."""
    job = insert_poison(conn)
    conn.execute("UPDATE pgaudit.audit_jobs SET status = 'failed', attempts = 3")
    conn.commit()
    return job
