"""HTTP to anchors: one request, with timeouts, a largest answer, no redirects, and no secret in any error."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import IO, Any, Final
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from pgaudit.errors import AnchorFailed

TIMEOUT: Final = 10.0  # seconds, for connecting and for each read
LARGEST_ANSWER: Final = 65_536  # bytes
SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, type and body of an answer."""

    status: int
    content_type: str
    body: bytes

    def require_success(self) -> "Answer":
        """Returns the answer.

        :raises AnchorFailed: its status is not one of success.
        """
        if self.status not in SUCCESS:
            raise AnchorFailed(f"it answers {meaning(self.status)}")
        return self


def meaning(status: int) -> str:
    """Returns a status with its name. The server's own words are not repeated: they may quote the request."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def opener() -> OpenerDirector:
    """Returns what opens URLs, through the proxy of the environment if there is one.

    Each status is an answer, a redirect too: following it would turn a POST into a GET.
    """
    director = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        director.add_handler(handler)
    return director


def request_of(url: str, token: str, body: bytes | None, content_type: str) -> Request:
    """Returns the request: POST with a body, GET without."""
    request = Request(url, data=body, headers={"User-Agent": "pgaudit"})  # noqa: S310 - the setting allows HTTP alone
    if body is not None:
        request.add_header("Content-Type", content_type)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def send(url: str, token: str = "", body: bytes | None = None, content_type: str = "text/plain") -> Answer:
    """Sends one request, and returns the answer, whatever its status.

    :raises AnchorFailed: there is no answer, or it is too large.
    """
    with opened(request_of(url, token, body, content_type)) as response:
        content: bytes = response.read(LARGEST_ANSWER + 1)
    if len(content) > LARGEST_ANSWER:
        raise AnchorFailed(f"its answer has more than {LARGEST_ANSWER:,} bytes")
    return Answer(response.status, response.headers.get_content_type(), content)


@contextmanager
def reading(url: str, token: str = "") -> Generator[IO[bytes]]:
    """Opens what a URL returns, to be read line by line.

    :raises AnchorFailed: it is not there.
    """
    with opened(request_of(url, token, None, "")) as response:
        if response.status not in SUCCESS:
            raise AnchorFailed(f"it cannot be read: it answers {meaning(response.status)}")
        yield response


@contextmanager
def opened(request: Request) -> Generator[Any]:
    """Sends a request, and opens the answer. Errors of the network are raised without what they quote.

    :raises AnchorFailed: the server cannot be reached, or does not speak HTTP.
    """
    try:
        with opener().open(request, timeout=TIMEOUT) as response:
            yield response
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise AnchorFailed(f"it does not answer: {reason(cause)}") from None


def reason(cause: object) -> str:
    """Returns why the server does not answer."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, TimeoutError):
        return f"nothing within {TIMEOUT:.0f} s"
    return (isinstance(cause, OSError) and cause.strerror) or type(cause).__name__
