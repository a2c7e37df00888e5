"""NATS JetStream: a stream there that has each event of the log exactly once, for ever.

Each event is published with its index as ``Nats-Expected-Last-Sequence``, the sequence that JetStream must have reached
before it. So the event's sequence there is its index + 1, and JetStream refuses duplicates and gaps, without a time
window for duplicates. The position can always be compared with the log.
"""

# pyright: reportUnknownMemberType=false
# The client leaves open what its dicts hold.

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from nats.aio.client import Client, RawCredentials
from nats.errors import AuthorizationError, Error, NoServersError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from pgaudit.streams.destinations.addresses import host_of, resolve
from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.nats_subject import subject_of
from pgaudit.streams.destinations.sockets import describe_error
from pgaudit.streams.forms import writer_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

T = TypeVar("T")
PORT: Final = 4222
CONNECT_SECONDS: Final = 5
CLOSE_SECONDS: Final = 1
ANSWER_SECONDS: Final = 30.0
HASH: Final = "Pgaudit-Leaf-Hash"
EXPECTED: Final = "Nats-Expected-Last-Sequence"
VIOLATION: Final = "authorization violation"  # how the client says it while it connects
EXCERPT: Final = 200  # characters of what the server answers
FORBIDDEN: Final = frozenset({401, 403})


def open_destination(request: Request) -> "JetStream":
    """Returns the stream of JetStream; it is made if there is none.

    :raises DestinationRefused: the server does not let us in.
    """
    return JetStream(request)


class JetStream(BaseDestination):
    """Publishes events to one stream of JetStream, without waiting for each acknowledgement."""

    limits = Limits(events=1_000, bytes=8_000_000)

    def __init__(self, request: Request) -> None:
        self._write = writer_of(request.form)
        self._ours = request.stream
        self._name = request.url.option("stream")
        self._prefix = request.url.option("prefix", "audit")
        self._replicas = request.url.number("replicas", 1)
        self._scheme = request.url.scheme
        self._place = host_of(request.url.place)
        self._allow_private = request.allow_private
        self._heard: Exception | None = None
        self._options: dict[str, Any] = {**connection_options(request), "error_cb": self._hear}
        self._runner = asyncio.Runner()
        self._client: Client | None = None

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Publishes what the stream does not have yet; returns when it is stored."""
        return self._run(self._send(entries))

    def check(self) -> None:
        """Checks that the server gives access, and creates the stream if there is none."""
        self._run(self._check())

    async def _check(self) -> None:
        await self._stream(await self._connected())

    def close(self) -> None:
        """Closes the connection."""
        try:
            self._runner.run(self._disconnect())
        finally:
            self._runner.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what a coroutine returns. Errors of the client name no secret."""
        try:
            return self._runner.run(work)
        except APIError as error:
            kind = DestinationRefused if error.code in FORBIDDEN else DeliveryFailed
            raise kind(f"JetStream answers {error.code}: {str(error.description)[:EXCERPT]}") from None
        except (Error, OSError, TimeoutError) as error:
            if isinstance(error, AuthorizationError) or VIOLATION in str(error).lower():
                raise DestinationRefused("NATS denies access: check user, password, token or creds") from None
            raise DeliveryFailed(f"NATS does not answer: {self._describe(error)}") from None

    def _describe(self, error: Exception) -> str:
        """Returns why it does not: of the server that was tried last, if the client has found none."""
        cause = self._heard if self._heard and isinstance(error, NoServersError) else error
        return describe_error(cause) if isinstance(cause, OSError) else type(cause).__name__

    async def _hear(self, error: Exception) -> None:
        """Remembers an error of the connection: the client itself would log it with its traceback."""
        self._heard = error

    async def _send(self, entries: Sequence[Entry]) -> Receipt:
        jetstream = await self._connected()
        last = (await self._stream(jetstream)).state.last_seq
        if last < entries[0].index:
            raise DestinationRefused(
                f"the stream {self._name} of JetStream {f'ends with index {last - 1}' if last else 'is empty'}, and "
                f"{entries[0].index} is next: set ours back with pgaudit stream rewind {self._ours} {last}. If the log "
                f"has index {last} no more, its partition was detached, and JetStream cannot get the whole log"
            )
        known = [entry for entry in entries if entry.index < last]
        if known:
            await self._compare(jetstream, known[-1])
        return await self._publish(jetstream, entries[len(known) :], len(known))

    async def _connected(self) -> JetStreamContext:
        """Returns the connection; a new one if there is none."""
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

    def _servers(self) -> list[str]:
        """Returns the server at each address of its name, so that the client looks none up itself.

        :raises DestinationRefused: one of them is not public, and the stream allows only those.
        """
        host, port = self._place
        addresses = resolve(host, port or PORT, allow_private=self._allow_private)
        places = (f"[{address}]" if ":" in address else address for address in addresses)
        return [f"{self._scheme}://{place}:{port or PORT}" for place in places]

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

    async def _stream(self, jetstream: JetStreamContext) -> Any:
        """Returns how the stream is. It is made if there is none: nothing can be deleted from it."""
        try:
            return await jetstream.stream_info(self._name)
        except NotFoundError:
            return await jetstream.add_stream(
                StreamConfig(
                    name=self._name, subjects=[f"{self._prefix}.>"], deny_delete=True, deny_purge=True,
                    num_replicas=self._replicas, description="The audit log: sequence = index + 1",
                )
            )  # fmt: skip

    async def _compare(self, jetstream: JetStreamContext, entry: Entry) -> None:
        """Checks that what the stream has is of this log.

        :raises DestinationRefused: it has another event at that place.
        """
        message = await jetstream.get_msg(self._name, entry.index + 1)
        if (message.headers or {}).get(HASH) != entry.leaf_hash.hex():
            raise DestinationRefused(
                f"the stream {self._name} has another event at index {entry.index}: the database was restored from an "
                "older backup. Send the log to a new stream of JetStream, and keep the old one as evidence"
            )

    async def _publish(self, jetstream: JetStreamContext, entries: Sequence[Entry], known: int) -> Receipt:
        """Publishes events, without waiting for one before the next."""
        futures: list[asyncio.Future[Any]] = []
        size = 0
        for entry in entries:
            payload = self._write(entry).encode()
            size += len(payload)
            headers = {EXPECTED: str(entry.index), HASH: entry.leaf_hash.hex()}
            subject = subject_of(self._prefix, entry)
            futures.append(await jetstream.publish_async(subject, payload, ANSWER_SECONDS, self._name, headers))
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = await asyncio.gather(*futures, return_exceptions=True)
        stored = next((n for n, answer in enumerate(answers) if isinstance(answer, BaseException)), len(answers))
        if stored < len(answers):
            error = answers[stored]
            raise DeliveryFailed(
                f"JetStream refused an event: {str(error)[:EXCERPT]}", done=known + stored, receipt=Receipt(size)
            )
        return Receipt(size)


def connection_options(request: Request) -> dict[str, Any]:
    """Returns how to connect: no reconnecting behind our back, and the secrets that the URL refers to.

    The client tries each address twice, because of 0 attempts it makes any number.

    :raises DestinationRefused: the file of authorities cannot be read.
    """
    url = request.url
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS, "tls_hostname": host_of(url.place)[0], "allow_reconnect": False,
        "max_reconnect_attempts": 1, "reconnect_time_wait": 0, "dont_randomize": True,
        "name": f"pgaudit {request.stream}", "user": url.options.get("user"),
        "password": url.secret("password"), "token": url.secret("token"),
    }  # fmt: skip
    if url.scheme == "tls":
        options["tls"] = tls_context(url)
    if creds := url.secret("creds"):
        options["user_credentials"] = RawCredentials(creds)
    return {name: value for name, value in options.items() if value is not None}
