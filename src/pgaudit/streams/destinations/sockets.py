"""TCP and TLS connections to checked addresses, with timeouts, for protocols other than HTTP."""

import os
import socket
import ssl
import time

from pgaudit.streams.destinations.addresses import resolve
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.timeouts import ANSWER_SECONDS, CONNECT_SECONDS


def connect(host: str, port: int, *, allow_private: bool, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Returns a connection to the first address of the host that answers. Each gets an equal share of the time.

    :raises DeliveryFailed: none of them answers.
    :raises DestinationRefused: one of them is not public, and the stream allows only those.
    """
    addresses = resolve(host, port, allow_private=allow_private)
    end = time.monotonic() + CONNECT_SECONDS
    reason = "it has no address"
    for count in range(len(addresses), 0, -1):
        share = max((end - time.monotonic()) / count, 0.01)
        try:
            return connected(addresses[-count], port, share, kind)
        except OSError as error:
            reason = describe_error(error)
    raise DeliveryFailed(f"{host} does not answer at port {port}: {reason}")


def connected(address: str, port: int, seconds: float, kind: int) -> socket.socket:
    """Returns a socket that is connected to an address."""
    family, *_, place = socket.getaddrinfo(address, port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    opened = socket.socket(family, kind)
    try:
        opened.settimeout(seconds)
        opened.connect(place)
    except BaseException:
        opened.close()
        raise
    opened.settimeout(ANSWER_SECONDS)
    return opened


def wrap_tls(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """Returns the connection with TLS: the certificate must be of that host.

    :raises DeliveryFailed: it is not, or the other side does not speak TLS.
    """
    plain.settimeout(CONNECT_SECONDS)
    try:
        encrypted = context.wrap_socket(plain, server_hostname=host)
    except OSError as error:
        plain.close()
        raise DeliveryFailed(f"no TLS with {host}: {describe_error(error)}") from None
    encrypted.settimeout(ANSWER_SECONDS)
    return encrypted


def raise_pending(connection: socket.socket) -> None:
    """Raises the socket's pending error (``SO_ERROR``), if there is one."""
    if error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))


def describe_error(error: Exception) -> str:
    """Returns why a connection has failed: a text without secrets."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | EOFError):
        return "the connection was closed"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (isinstance(error, OSError) and error.strerror) or "the connection was closed"
