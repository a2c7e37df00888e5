"""Runs an application under uvicorn: alone, or in a thread."""

import asyncio
import logging
import signal
import socket
from asyncio import AbstractEventLoop
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from pgaudit.settings import Settings

logger = logging.getLogger("pgaudit.web")

# Seconds that a shutdown waits for requests: a client that does not finish must not keep the process from ending.
SHUTDOWN_TIMEOUT: Final = 5
LOG_INTERVAL_SECONDS: Final = 60.0


def serve(settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 8_000) -> None:
    """Serves the application until SIGTERM or SIGINT.

    :raises OSError: the port is in use.
    """
    from pgaudit.web.application import create_app  # noqa: PLC0415 - the health port does without FastAPI

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ignore_repeated)
    settings = settings or Settings()
    with listening(host, port) as listener:
        logger.info("serving on http://%s:%d", host, listener.getsockname()[1])
        announce(settings, address_of(host, listener.getsockname()[1]))
        build_server(create_app(settings), log_level="info").run(sockets=[listener])


def announce(settings: Settings, address: str) -> None:
    """Logs where the dashboard is, or how to open it while the server has no token."""
    if settings.admin_token and settings.admin_token.get_secret_value():
        logger.info("the dashboard is at %s/: log in with PGAUDIT_ADMIN_TOKEN", address)
    else:
        logger.warning(
            "the dashboard at %s/ is closed, because PGAUDIT_ADMIN_TOKEN is not set; make one and start again: "
            "export PGAUDIT_ADMIN_TOKEN=$(openssl rand -hex 16)",
            address,
        )


def address_of(host: str, port: int) -> str:
    """Returns the address that a browser on this machine opens."""
    local = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - it is compared
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def ignore_repeated(_number: int, _frame: FrameType | None) -> None:
    """Ignores the signal that uvicorn sends again after a clean shutdown, so that the exit code is 0."""


@contextmanager
def serving(app: ASGIApp, listener: socket.socket, **options: Any) -> Generator[None]:
    """Serves an application in a thread for as long as the block lasts.

    :param options: options of uvicorn.
    """
    server = build_server(app, **{"log_level": "warning"} | options)
    thread = Thread(target=lambda: asyncio.run(run(server, listener)), name="pgaudit web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


async def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serves until ``should_exit`` is set."""
    asyncio.get_running_loop().set_exception_handler(LoopErrors())
    await server.serve(sockets=[listener])


class LoopErrors:
    """Logs one error of an event loop a minute. Out of files, asyncio reports each connection that it cannot accept."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs the error, or drops it."""
        if loop.time() >= self._next:
            self._next = loop.time() + LOG_INTERVAL_SECONDS
            logger.error(
                "%s; more such errors are not logged for a minute",
                context["message"],
                exc_info=context.get("exception"),
            )


def build_server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """Returns a uvicorn server that leaves the logging as it is."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
            **options,
        )
    )


def listening(host: str, port: int) -> socket.socket:
    """Returns a listening socket; on every address, also of IPv6 where there is any, when no host is named."""
    if host == "" and socket.has_dualstack_ipv6():
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, port), family=family)
