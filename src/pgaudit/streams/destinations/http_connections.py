"""HTTP connections to checked addresses, with one deadline for the whole request."""

import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpcore2

from pgaudit.streams.destinations.addresses import resolve
from pgaudit.streams.timeouts import ANSWER_SECONDS, CONNECT_SECONDS


@dataclass(slots=True)
class Deadline:
    """The deadline of the current request, by the monotonic clock."""

    at: float = 0.0

    def start(self) -> None:
        """Sets the deadline of a new request."""
        self.at = time.monotonic() + ANSWER_SECONDS

    def left(self, error: type[httpcore2.TimeoutException]) -> float:
        """Returns the seconds that are left.

        :raises httpcore2.TimeoutException: there are none; of the class that was given.
        """
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise error
        return seconds


class CheckedBackend(httpcore2.NetworkBackend):
    """Connects to the addresses of a name, if all of them are allowed."""

    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the time is one for all addresses
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Returns a connection to the first address that answers. Each gets an equal share of the time."""
        addresses = resolve(host, port, allow_private=self._allow_private)
        end = time.monotonic() + CONNECT_SECONDS
        for count in range(len(addresses), 0, -1):
            share = max((end - time.monotonic()) / count, 0.01)
            try:
                stream = self._plain.connect_tcp(addresses[-count], port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if count == 1:
                    raise
            else:
                return BoundedStream(stream, self._deadline)
        raise httpcore2.ConnectError


class BoundedStream(httpcore2.NetworkStream):
    """A connection on which every read and write ends at the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - see Deadline
        return self._stream.read(max_bytes, self._deadline.left(httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - see Deadline
        connected = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                connected.settimeout(self._deadline.left(httpcore2.WriteTimeout))
                rest = rest[connected.send(rest) :]
        except TimeoutError as error:
            raise httpcore2.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore2.WriteError(error) from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - see Deadline
    ) -> httpcore2.NetworkStream:
        seconds = min(CONNECT_SECONDS, self._deadline.left(httpcore2.ConnectTimeout))
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
