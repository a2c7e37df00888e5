"""Runs the application: alone, or the health route beside a worker."""

import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from pgaudit.settings import Settings
from pgaudit.web.application import create_app, create_probe

logger = logging.getLogger("pgaudit.web")

# A client that does not finish may not keep the process from ending.
SHUTDOWN_TIMEOUT: Final = 5


def serve(settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 8_000) -> None:
    """Serves the application until SIGTERM or SIGINT.

    :raises OSError: the port is in use.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ignore_repeated)
    with listening(host, port) as listener:
        logger.info("serving on http://%s:%d", host, listener.getsockname()[1])
        server(create_app(settings)).run(sockets=[listener])


def ignore_repeated(_number: int, _frame: FrameType | None) -> None:
    """Ignores the signal that uvicorn sends again after a clean shutdown, so that the exit code is 0."""


@contextmanager
def probing(settings: Settings, port: int) -> Generator[None]:
    """Serves the health route on that port inside the block.

    It has a thread and an event loop of its own: a worker that is busy keeps no probe waiting.

    :raises OSError: the port is in use.
    """
    with listening("", port) as listener, serving(create_probe(settings), listener):
        yield


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Generator[None]:
    """Serves an application in a thread for as long as the block lasts."""
    running = server(app, log_level="warning")
    thread = Thread(target=running.run, kwargs={"sockets": [listener]}, name="pgaudit web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        running.should_exit = True
        thread.join()


def server(app: ASGIApp, log_level: str = "info") -> uvicorn.Server:
    """Returns a uvicorn server that leaves the logging as it is."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level=log_level,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        )
    )


def listening(host: str, port: int) -> socket.socket:
    """Returns a listening socket; on every address, also of IPv6 where there is any, when no host is named."""
    if host == "" and socket.has_dualstack_ipv6():
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, port), family=family)
