"""How a stream connects to NATS, and what the client's errors mean for it."""

# pyright: reportUnknownMemberType=false
# The client leaves open what its dicts hold.

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from nats.aio.client import Client, RawCredentials
from nats.errors import AuthorizationError, Error, NoServersError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from pgaudit.streams.destinations.addresses import host_of, resolve
from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.destinations.sockets import describe_error
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.request import Request

T = TypeVar("T")
PORT: Final = 4222
CONNECT_SECONDS: Final = 5
CLOSE_SECONDS: Final = 1
ANSWER_SECONDS: Final = 30.0
VIOLATION: Final = "authorization violation"  # how the client says it while it connects
EXCERPT: Final = 200  # characters of what the server answers
FORBIDDEN: Final = frozenset({401, 403})


class Connection:
    """A connection to NATS and the event loop that it lives in; made when it is needed."""

    def __init__(self, request: Request) -> None:
        self._scheme = request.url.scheme
        self._host = host_of(request.url.netloc)
        self._allow_private = request.allow_private
        self._reported: Exception | None = None
        self._refused = asyncio.Event()
        self._options: dict[str, Any] = {**connection_options(request), "error_cb": self._note}
        self._runner = asyncio.Runner()
        self._client: Client | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what a coroutine returns. Errors of the client name no secret.

        :raises DeliveryFailed: NATS does not answer; or, DestinationRefused, denies access.
        """
        try:
            return self._runner.run(work)
        except APIError as error:
            kind = DestinationRefused if error.code in FORBIDDEN else DeliveryFailed
            raise kind(f"JetStream answers {error.code}: {str(error.description)[:EXCERPT]}") from None
        except (Error, OSError, TimeoutError) as error:
            if isinstance(error, AuthorizationError) or VIOLATION in str(error).lower():
                raise DestinationRefused("NATS denies access: check user, password, token or creds") from None
            raise DeliveryFailed(f"NATS does not answer: {self._describe(error)}") from None

    def close(self) -> None:
        """Closes the connection and the event loop."""
        try:
            self._runner.run(self._disconnect())
        finally:
            self._runner.close()

    async def jetstream(self) -> JetStreamContext:
        """Returns JetStream on the connection; on a new one if there is none."""
        if self._client is None or not self._client.is_connected:
            await self._disconnect()
            servers = self._servers()
            self._client = Client()
            try:
                async with asyncio.timeout(2 * CONNECT_SECONDS):
                    await self._client.connect(servers, **self._options)
            except BaseException:
                await self._disconnect()
                raise
        return self._client.jetstream(timeout=ANSWER_SECONDS)

    async def stored(self, publications: Sequence[asyncio.Future[Any]]) -> int:
        """Waits for the answers to publications; returns how many, from the first on, were stored.

        The client reports a refusal to ``error_cb`` alone, and never ends the future. Answers come in order, so what
        was stored before is known then; the others are left with their connection.
        """
        waiting: list[asyncio.Future[Any]] = [
            asyncio.gather(*publications, return_exceptions=True), asyncio.ensure_future(self._refused.wait())
        ]  # fmt: skip
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            count = next((n for n, one in enumerate(publications) if not has_succeeded(one)), len(publications))
            for each in waiting:
                each.cancel()
        if self._refused.is_set():
            self._refused.clear()
            await self._disconnect()
        return count

    @property
    def refusal(self) -> str:
        """Why the last publication was refused."""
        return str(self._reported)[:EXCERPT]

    def _servers(self) -> list[str]:
        """Returns the server at each address of its name, so that the client looks none up itself.

        :raises DestinationRefused: one of them is not public, and the stream allows only those.
        """
        host, port = self._host
        addresses = resolve(host, port or PORT, allow_private=self._allow_private)
        hosts = (f"[{address}]" if ":" in address else address for address in addresses)
        return [f"{self._scheme}://{host}:{port or PORT}" for host in hosts]

    async def _disconnect(self) -> None:
        """Closes the connection, if there is one, and its socket, which the client leaves open if it was refused.

        The client would wait for ever for the end of a connection that TLS has refused.
        """
        client, self._client = self._client, None
        if client is None:
            return
        transport: Any = client._transport  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - see above
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()
                if transport is not None:
                    transport.close()
                    await transport.wait_closed()

    def _describe(self, error: Exception) -> str:
        """Returns why it does not answer: of the server that was tried last, if the client has found none."""
        cause = self._reported if self._reported and isinstance(error, NoServersError) else error
        return describe_error(cause) if isinstance(cause, OSError) else type(cause).__name__

    async def _note(self, error: Exception) -> None:
        """Remembers an error of the connection: the client itself would log it with its traceback."""
        self._reported = error
        if isinstance(error, APIError):
            self._refused.set()


def has_succeeded(publication: asyncio.Future[Any]) -> bool:
    """Returns whether an event was stored."""
    return publication.done() and not publication.cancelled() and publication.exception() is None


def connection_options(request: Request) -> dict[str, Any]:
    """Returns how to connect: no reconnecting behind our back, and the secrets that the URL refers to.

    The client tries each address twice, because of 0 attempts it makes any number.

    :raises DestinationRefused: the file of authorities cannot be read.
    """
    url = request.url
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS, "tls_hostname": host_of(url.netloc)[0], "allow_reconnect": False,
        "max_reconnect_attempts": 1, "reconnect_time_wait": 0, "dont_randomize": True,
        "name": f"pgaudit {request.stream}", "user": url.options.get("user"),
        "password": url.secret("password"), "token": url.secret("token"),
    }  # fmt: skip
    if url.scheme == "tls":
        options["tls"] = tls_context(url)
    if creds := url.secret("creds"):
        options["user_credentials"] = RawCredentials(creds)
    return {name: value for name, value in options.items() if value is not None}
