"""The access that the documentation of the dashboard shows, in an application with a login of its own."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from docs.code import mounting_
from docs.code.access_ import Employee, EmployeeAccess
from pgaudit import Settings
from pgaudit.trail import parse
from pgaudit.web import create_app
from tests.support import django_project
from tests.support.http import BEARER, TOKEN, client_of

STATS = "/audit/api/v1/admin/queues/stats"
EVENTS = "/audit/api/v1/audit/events"
EXPORT = "/audit/api/v1/audit/export"


async def log_in(request: Request) -> JSONResponse:
    """Puts the person of the request into the session."""
    employee: dict[str, Any] = await request.json()
    request.session["employee"] = employee
    return JSONResponse(employee)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the application with the dashboard in it."""
    app = Starlette(
        routes=[
            Route("/login", log_in, methods=["POST"]),
            Mount("/audit", create_app(settings, access=EmployeeAccess())),
        ],
        middleware=[Middleware(SessionMiddleware, secret_key="of the tests")],
    )
    with client_of(app) as client:
        yield client


def test_the_roles_of_the_application_decide(client: httpx.Client) -> None:
    """Nobody 401; auditors read and export, operators read; another role is refused, and no part sees the whole."""
    assert client.get(EVENTS).status_code == 401
    for role, read, export in (("auditor", 200, 200), ("operator", 200, 403), ("clerk", 403, 403)):
        client.post("/login", json={"name": "Ada", "role": role, "tenants": ["north"]})
        assert (client.get(EVENTS).status_code, client.head(EXPORT).status_code) == (read, export), role
        assert client.get(STATS).status_code == 403


class NamedInHeader(AuthenticationBackend):
    """The login of an application: the header has the name of the user."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Returns the user of a connection."""
        name = conn.headers.get("X-User")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def test_the_dashboard_is_mounted_as_the_page_says(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """In FastAPI and beside Django with the token, for users of Starlette with an access."""
    django_project.configure()
    monkeypatch.setenv("PGAUDIT_DSN", settings.dsn)
    monkeypatch.setenv("PGAUDIT_ADMIN_TOKEN", TOKEN)
    for app in (mounting_.in_fastapi(), mounting_.beside_django()):
        with client_of(app) as client:
            assert client.get("/audit/login").status_code == 200
            assert client.get(STATS, headers=BEARER).status_code == 200
    with client_of(mounting_.for_auditors(NamedInHeader())) as client:
        for name, status in (("ada", 200), ("bob", 403)):
            assert client.get(STATS, headers={"X-User": name}).status_code == status


def test_the_scope_and_mask_are_those_of_the_page() -> None:
    """Tenants and the search are one query; operators see no personal data."""
    access = EmployeeAccess()
    auditor, operator = (Employee("Ada", role, frozenset({"south", "north"})) for role in ("auditor", "operator"))
    assert access.scope(auditor).as_query() == parse("tenant:north,south -action:payroll.*")
    assert access.mask(operator, "data.email", "ada@example.org") == "hidden"
    assert access.mask(operator, "data.amount", "10") == "10"
    assert access.mask(auditor, "data.email", "ada@example.org") == "ada@example.org"
