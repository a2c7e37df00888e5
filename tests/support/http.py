"""An HTTP client of an application under a real server."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from starlette.types import ASGIApp

from pgaudit.web.server import listening, serving

TOKEN = "tökens-of-the-tests"
BEARER = {b"Authorization": f"Bearer {TOKEN}".encode()}


@contextmanager
def client_of(app: ASGIApp, path: str = "", **options: object) -> Iterator[httpx.Client]:
    """Serves the application with Uvicorn and its options inside the block; returns a client of it."""
    with listening("127.0.0.1", 0) as listener, serving(app, listener, **options):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield client
