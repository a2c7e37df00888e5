"""The application inside others, with and without their lifespan, and on its own."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest
from django.core.asgi import get_asgi_application
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from pgaudit import Settings
from pgaudit.web import create_app
from tests import django_project
from tests.processes import kill, query, terminate
from tests.waiting import wait_until
from tests.web.conftest import BEARER, client_of

HEALTH = "/api/v1/health/queues"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgaudit web' AND datname = current_database()
"""


def in_starlette(app: ASGIApp) -> ASGIApp:
    """Below /audit of a Starlette application."""
    return Starlette(routes=[Mount("/audit", app=app)])


def in_fastapi(app: ASGIApp) -> ASGIApp:
    """Below /audit of a FastAPI application."""
    host = FastAPI()
    host.mount("/audit", app)
    return host


def in_django(app: ASGIApp) -> ASGIApp:
    """Beside a Django project."""
    django_project.configure()
    return Starlette(routes=[Mount("/audit", app=app), Mount("/", app=get_asgi_application())])


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi, in_django])
def test_the_paths_are_the_same_below_the_mount_point(
    settings: Settings, mounted: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Routes, errors and the document's server, in Starlette, FastAPI and beside Django."""
    with client_of(mounted(create_app(settings)), "/audit") as client:
        assert client.get(HEALTH).status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/api/v1/admin/queues/stats", headers=BEARER).status_code == 200
        assert client.get("/nothing").headers["Content-Type"] == "application/problem+json"
        assert client.get("/api/v1/openapi.json").json()["servers"] == [{"url": "/audit"}]


async def status(app: ASGIApp, path: str = HEALTH) -> int:
    """Returns the status of a route in the running event loop, without the lifespan of the application."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as client:
        return (await client.get(path)).status_code


def test_no_lifespan_is_needed_nor_the_same_event_loop(settings: Settings) -> None:
    """Connections are opened when they are needed, and belong to no event loop."""
    app = create_app(settings)
    assert [asyncio.run(status(app)) for _ in range(3)] == [200, 200, 200]


@pytest.mark.anyio
async def test_the_lifespan_closes_the_connections(settings: Settings, dsn: str) -> None:
    """None is left when it ends; it may begin again."""
    app = create_app(settings)
    for path in (HEALTH, "/metrics"):  # a look at the same again could be shared
        async with app.router.lifespan_context(app):
            assert await status(app, path) == 200
            assert query(dsn, CONNECTIONS) == 1
        wait_until(lambda: query(dsn, CONNECTIONS) == 0)


def test_serve_runs_it_alone(dsn: str) -> None:
    """``pgaudit serve`` says where it listens, answers, and ends when asked to."""
    command = [sys.executable, "-m", "pgaudit", "serve", "--port", "0"]
    environment = os.environ | {"PGAUDIT_DSN": dsn}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, b"")
        url = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line.decode())))
        assert httpx.get(url + HEALTH, trust_env=False, timeout=30).status_code == 200
        terminate(process)
        assert b"Traceback" not in process.stderr.read()
    finally:
        kill(process)
        process.stderr.close()


def test_a_program_that_ends_without_the_lifespan_ends_at_once(settings: Settings) -> None:
    """The threads of open connections keep no interpreter from ending, and complain of nothing."""
    code = f"""if True:
        import asyncio
        from pgaudit import Settings
        from pgaudit.web import create_app
        from tests.web.test_mounting import status
        assert asyncio.run(status(create_app(Settings(dsn={settings.dsn!r})))) == 200
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_without_its_packages_the_import_says_what_to_install() -> None:
    """They are an extra: ``import pgaudit`` does without."""
    code = """if True:
        import sys
        sys.modules["fastapi"] = None
        import pgaudit, pgaudit.cli
        try:
            from pgaudit.web import create_app
        except pgaudit.PgauditError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 'pip install "pgaudit[web]"' in result.stdout
