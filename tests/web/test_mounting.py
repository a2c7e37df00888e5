"""The HTTP application inside other applications, with and without their lifespan, and by itself."""

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
from tests.support import django_project
from tests.support.http import BEARER, client_of
from tests.support.processes import kill, terminate
from tests.support.queries import value_in
from tests.support.waiting import wait_until

HEALTH = "/api/v1/health/queues"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgaudit web' AND datname = current_database()
"""


def in_starlette(app: ASGIApp) -> ASGIApp:
    """Mounts the application below /audit in a Starlette application."""
    return Starlette(routes=[Mount("/audit", app=app)])


def in_fastapi(app: ASGIApp) -> ASGIApp:
    """Mounts the application below /audit in a FastAPI application."""
    host = FastAPI()
    host.mount("/audit", app)
    return host


def in_django(app: ASGIApp) -> ASGIApp:
    """Mounts the application beside a Django project."""
    django_project.configure()
    return Starlette(routes=[Mount("/audit", app=app), Mount("/", app=get_asgi_application())])


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi, in_django])
def test_the_paths_are_the_same_below_the_mount_point(
    settings: Settings, mounted: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Routes, errors and the servers of the document are right below a mount point."""
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


def test_the_application_works_without_lifespan_in_any_event_loop(settings: Settings) -> None:
    """Connections are opened on demand, and are not bound to an event loop."""
    app = create_app(settings)
    assert [asyncio.run(status(app)) for _ in range(3)] == [200, 200, 200]


@pytest.mark.anyio
async def test_the_lifespan_closes_the_connections(settings: Settings, dsn: str) -> None:
    """No connection is left after a lifespan, and a second one can begin."""
    app = create_app(settings)
    for path in (HEALTH, "/metrics"):  # a look at the same again could be shared
        async with app.router.lifespan_context(app):
            assert await status(app, path) == 200
            assert value_in(dsn, CONNECTIONS) == 1
        wait_until("the connections are closed", lambda: value_in(dsn, CONNECTIONS) == 0)


def test_a_forked_process_has_connections_and_threads_of_its_own(settings: Settings) -> None:
    """If a server forks after the application has served requests, parent and child both answer."""
    code = f"""if True:
        import asyncio, os, sys
        from pgaudit import Settings
        from pgaudit.web import create_app
        from pgaudit.web import lookups
        from tests.web.test_mounting import HEALTH, status
        lookups.SHARED_SECONDS = 0  # each request looks
        app = create_app(Settings(dsn={settings.dsn!r}))
        def answers():
            return [int(asyncio.run(status(app, path))) for path in (HEALTH, "/metrics")]
        answers()
        for _ in range(2):
            if os.fork() == 0:
                print(answers(), flush=True)
                os._exit(0)
            os.wait()
        print(answers())
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]  # of forking with threads
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.splitlines() == ["[200, 200]"] * 3, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ({}, r"the dashboard at http://127\.0\.0\.1:\d+/ is closed.*PGAUDIT_ADMIN_TOKEN=\$\(openssl rand -hex 16\)"),
        ({"PGAUDIT_ADMIN_TOKEN": "of-the-test-alone"}, r"the dashboard is at http://127\.0\.0\.1:\d+/: log in"),
    ],
)
def test_serve_runs_the_application_by_itself(dsn: str, token: dict[str, str], said: str) -> None:
    """pgaudit serve prints its address and how to open the dashboard, answers, and ends at SIGTERM."""
    command = [sys.executable, "-m", "pgaudit", "serve", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "PGAUDIT_ADMIN_TOKEN"}
    environment |= {"PGAUDIT_DSN": dsn} | token
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, b"")
        url = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line.decode())))
        assert any(re.search(said, line.decode()) for line in lines)
        assert httpx.get(url + HEALTH, trust_env=False, timeout=30).status_code == 200
        terminate(process)
        assert b"Traceback" not in process.stderr.read()
    finally:
        kill(process)
        process.stderr.close()


def test_a_program_that_ends_without_the_lifespan_ends_at_once(settings: Settings) -> None:
    """Threads of open connections neither keep the interpreter alive nor print anything."""
    code = f"""if True:
        import asyncio
        from pgaudit import Settings
        from pgaudit.web import create_app
        from tests.web.test_mounting import status
        assert asyncio.run(status(create_app(Settings(dsn={settings.dsn!r})))) == 200
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0
    assert result.stderr == ""


def test_without_its_packages_the_import_says_what_to_install() -> None:
    """Without starlette, import pgaudit works and import pgaudit.web names the extra."""
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
