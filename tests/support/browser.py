"""A browser without JavaScript: it follows no redirect by itself, and sends the forms of the pages it has loaded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape

import httpx
from starlette.types import ASGIApp

from tests.support.http import TOKEN, client_of

HEADERS = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]*)"')


class Browser:
    """What a person does with the pages of the dashboard."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.client.headers.update(HEADERS)

    def get(self, path: str, **options: object) -> httpx.Response:
        """Loads a page."""
        return self.client.get(path, **options)  # type: ignore[arg-type]

    def form_token(self, path: str) -> str:
        """Returns the token of the forms of a page."""
        found = FORM_TOKEN.search(self.get(path).text)
        assert found, f"{path} has no form"
        return unescape(found[1])

    def post(self, path: str, fields: dict[str, str], page: str | None = None) -> httpx.Response:
        """Sends a form of a page; of the page at the same path by default."""
        return self.client.post(path, data={"form_token": self.form_token(page or path)} | fields)

    def log_in(self, token: str = TOKEN, next_page: str = "/") -> httpx.Response:
        """Sends the form of the login page."""
        return self.post("/login", {"token": token, "next": next_page})

    def cookies(self) -> dict[str, str]:
        """Returns the cookies that the browser has."""
        return {cookie.name: cookie.value or "" for cookie in self.client.cookies.jar}


@contextmanager
def browser_of(app: ASGIApp, path: str = "", **options: object) -> Iterator[Browser]:
    """Serves the application with Uvicorn and its options inside the block; returns a browser of it."""
    with client_of(app, path, **options) as client:
        yield Browser(client)
