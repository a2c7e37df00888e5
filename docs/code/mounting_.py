"""The dashboard in an application."""

from django.core.asgi import get_asgi_application
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Mount

from pgaudit.web import create_app
from pgaudit.web.access import RequestUserAccess

AUDITORS = frozenset({"ada"})


def in_fastapi() -> FastAPI:
    """Returns an application of FastAPI with the dashboard at /audit/."""
    app = FastAPI()
    app.mount("/audit", create_app())
    return app


def beside_django() -> Starlette:
    """Returns a Django project with the dashboard at /audit/ beside it."""
    return Starlette(routes=[Mount("/audit", app=create_app()), Mount("/", app=get_asgi_application())])


def for_auditors(backend: AuthenticationBackend) -> Starlette:
    """Returns an application of Starlette whose auditors read the trail at /audit/."""
    access = RequestUserAccess(
        allows=lambda user, action: action == "read" and user.display_name in AUDITORS,
        login_url="/login",
    )
    return Starlette(
        routes=[Mount("/audit", app=create_app(access=access))],
        middleware=[Middleware(AuthenticationMiddleware, backend=backend)],
    )
