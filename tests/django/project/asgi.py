"""The project with the dashboard beside it, for a server such as uvicorn."""

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount

from pgaudit.django.access import DjangoAccess
from pgaudit.web import create_app

django = get_asgi_application()  # before anything else that needs Django's settings
dashboard = create_app(access=DjangoAccess(login_url="admin:login"))
app = Starlette(routes=[Mount("/audit", app=dashboard), Mount("/", app=django)])
