"""An HTTP client for destinations: POST to one host, to allowed addresses only, with bounded time and memory.

It follows no redirects. It uses no proxies of the environment: they would resolve the name themselves, and its
addresses would not be checked.
"""

import gzip
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import httpcore2

from pgaudit.streams.destinations.addresses import host_of
from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.destinations.http_connections import CheckedBackend, Deadline
from pgaudit.streams.destinations.http_response import Response, masked_excerpt
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.request import Request
from pgaudit.streams.timeouts import ANSWER_SECONDS, CONNECT_SECONDS
from pgaudit.streams.urls import StreamURL

LARGEST_ANSWER: Final = 65_536  # bytes
KEEP_ALIVE_SECONDS: Final = 3.0  # less than servers allow
SAFE: Final = "%/:@!$&'()*+,;=~"  # signs of a path that is escaped already
# What the network or the receiver can do; anything else is a bug of ours.
ERRORS: Final = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError)


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to the host of a stream, one after the other.

    :ivar secrets: are masked in what is quoted of an answer.
    """

    scheme: str
    host: str
    port: int | None
    place: str
    pool: httpcore2.ConnectionPool = field(repr=False)
    deadline: Deadline
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], *, compress: bool = False) -> Response:
        """Sends a body, and returns the answer, whatever its status.

        :raises DeliveryFailed: there is no answer in time.
        :raises DestinationRefused: the host has an address that is not allowed.
        """
        given = {"Host": self.place, "User-Agent": "pgaudit", "Content-Type": "application/json", **headers}
        if compress:
            given["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=5)
        url = httpcore2.URL(scheme=self.scheme, host=self.host, port=self.port, target=quote(path or "/", safe=SAFE))
        self.deadline.start()
        try:
            with self.pool.stream("POST", url, headers=list(given.items()), content=body) as response:
                return self.answer(response)
        except ERRORS as error:
            raise DeliveryFailed(f"{self.place} does not answer: {describe_error(error)}") from None

    def answer(self, response: httpcore2.Response) -> Response:
        """Returns an answer. Its body is read as far as it is needed."""
        content = b""
        for part in response.iter_stream():
            content += part
            if len(content) > LARGEST_ANSWER:
                break
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Response(response.status, headers, content[:LARGEST_ANSWER], masked_excerpt(content, self.secrets))

    def close(self) -> None:
        """Closes the connections."""
        self.pool.close()


def open_client(request: Request, secrets: Iterable[str | None] = ()) -> Client:
    """Returns a client of a stream's host.

    :raises DestinationRefused: the URL cannot be used.
    """
    url = request.url
    host, port = host_of(url.netloc)
    deadline = Deadline()
    pool = httpcore2.ConnectionPool(
        ssl_context=tls_context(url) if url.scheme == "https" else None,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
        network_backend=CheckedBackend(deadline, allow_private=request.allow_private),
    )
    kept = tuple(secret for secret in secrets if secret)
    return Client(url.scheme, host, port, url.netloc, pool, deadline, kept)


def read_token(url: StreamURL, option: str) -> str:
    """Returns the token that an option refers to, valid for an HTTP header; empty without the option.

    :raises DestinationRefused: it is not there, or no token.
    """
    token = url.secret(option) or ""
    if re.search("[^!-~]", token):
        raise DestinationRefused(
            f"the secret of {option}= is no token: it has blanks, or characters that are not ASCII"
        )
    return token


def describe_error(error: Exception) -> str:
    """Returns why there is no response: a text without secrets."""
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS: {cause.reason}"
    if isinstance(error, httpcore2.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, httpcore2.TimeoutException):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    if isinstance(error, httpcore2.ProtocolError):
        return "the connection was closed, or it does not speak HTTP"
    return (isinstance(cause, OSError) and cause.strerror) or "the connection was closed"
