"""A page of the dashboard that the tests of the frame add: it shows and returns what it is given."""

from datetime import UTC, datetime

from jinja2 import ChoiceLoader, DictLoader
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pgaudit.web.dashboard.frame import Dashboard

PAGE = """
{% extends "layout.html" %}
{% block title %}{{ title }}{% endblock %}
{% block main %}
<h1>{{ title }}</h1>
<p>{{ detail }}</p>
<p>{{ moment|moment }}</p>
<form method="post" action="{{ url('/sample') }}">{{ form_token_field }}<button>Send</button></form>
{% endblock %}
"""
MOMENT = datetime(2026, 7, 1, 22, 30, 0, 123456, tzinfo=UTC)


def routes(dashboard: Dashboard) -> list[Route]:
    """Returns a page and its form, which needs the right to retry, and pages of any id, the database and an error."""
    dashboard.templates.loader = ChoiceLoader([DictLoader({"sample.html": PAGE}), dashboard.templates.loader])  # type: ignore[list-item]

    async def show(request: Request) -> Response:
        viewer = await dashboard.viewer(request)
        shown = request.query_params
        title, detail = shown.get("title", "Sample"), shown.get("detail", "Shown.")
        return dashboard.render(request, "sample.html", viewer, title=title, detail=detail, moment=MOMENT)

    async def act(request: Request) -> Response:
        viewer, form = await dashboard.posted(request, "retry")
        return JSONResponse({"by": viewer.name, "fields": form.fields})

    async def of_id(request: Request) -> Response:
        await dashboard.viewer(request)
        return JSONResponse({"id": request.path_params["id"]})

    async def fail(request: Request) -> Response:
        await dashboard.viewer(request)
        raise RuntimeError("secret of the server")

    async def look(request: Request) -> Response:
        await dashboard.viewer(request)
        return JSONResponse(await dashboard.lookups.run(lambda conn: conn.execute("SELECT 1").fetchone()))

    return [
        Route("/looking", look),
        Route("/sample", show, methods=["GET"]),
        Route("/sample", act, methods=["POST"]),
        Route("/sample/{id:path}", of_id),
        Route("/failing", fail),
    ]
