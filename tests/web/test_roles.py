"""The role of the HTTP server: a worker's rights are enough, a reader's are not for a retry."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from pgaudit import Settings
from pgaudit.grants import grant
from pgaudit.web import create_app
from tests.support.http import BEARER, client_of
from tests.support.roles import temporary_roles

READ = ("/metrics", "/api/v1/health/queues", "/api/v1/admin/queues/stats", "/api/v1/admin/queues/health")


@pytest.fixture
def client(request: pytest.FixtureRequest, dsn: str, settings: Settings) -> Iterator[httpx.Client]:
    """A client with the token, of a server that connects as a role with one kind of rights."""
    with temporary_roles(dsn, "t_web"):
        with psycopg.connect(dsn) as conn:
            grant(conn, **{request.param: "t_web"})
        granted = settings.model_copy(update={"dsn": psycopg.conninfo.make_conninfo(dsn, user="t_web")})
        with client_of(create_app(granted)) as client:
            client.headers.update(BEARER)
            yield client


@pytest.mark.parametrize("client", ["worker"], indirect=True)
def test_the_worker_role_serves_every_route(client: httpx.Client) -> None:
    """A worker's rights are enough for each route."""
    assert {path: client.get(path).status_code for path in READ} == dict.fromkeys(READ, 200)
    assert client.post("/api/v1/admin/queues/jobs/1/retry").status_code == 404


@pytest.mark.parametrize("client", ["reader"], indirect=True)
def test_a_reader_serves_all_but_the_retry(client: httpx.Client) -> None:
    """The answer to a retry says which right is missing."""
    assert client.get("/metrics").status_code == 200
    refused = client.post("/api/v1/admin/queues/jobs/1/retry")
    assert refused.status_code == 503
    assert "pgaudit grant --worker" in refused.json()["detail"]
