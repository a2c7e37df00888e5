"""Delivers bytes over TCP or TLS in a protocol without acknowledgements, and finds out whether they were read.

That ``send`` has returned is not enough: bytes in the buffers of either system are lost with the connection. So each
chunk has a connection of its own, which is closed step by step:

1. Send, and wait until the receiver's *system* has acknowledged all bytes.
2. Shut down our direction. A receiver that has read everything sees the end, and closes its own direction.
3. If it closes or crashes while bytes are unread, its system resets the connection.

So an orderly end without a reset means that the receiver's *program* has read everything. What it does with that is
beyond the protocol.
"""

import socket
import ssl
import sys
import time
from contextlib import suppress
from typing import Final

from pgaudit.streams.destinations.sockets import describe_error, raise_pending
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.timeouts import ANSWER_SECONDS

CONFIRM_SECONDS: Final = 10.0
LOOK_EVERY_SECONDS: Final = 0.002


def deliver(connection: socket.socket, content: bytes, *, confirm: bool) -> None:
    """Sends bytes, waits for the confirmation, and closes the connection.

    :param confirm: wait until the receiver has read them; otherwise only until its system has them.
    :raises DeliveryFailed: there was no confirmation in time. The receiver may have read all, a part or nothing.
    """
    try:
        send(connection, content, time.monotonic() + ANSWER_SECONDS)
        end = time.monotonic() + CONFIRM_SECONDS
        await_acknowledgement(connection, end)
        if confirm:
            await_end(connection, end)
        else:
            close_tls(connection)
    except OSError as error:
        raise DeliveryFailed(f"the receiver has not taken everything: {describe_error(error)}") from None
    finally:
        connection.close()


def send(connection: socket.socket, content: bytes, end: float) -> None:
    """Sends bytes. Raises TimeoutError at ``end``, a time of the monotonic clock."""
    rest = memoryview(content)
    while rest:
        connection.settimeout(left(end))
        rest = rest[connection.send(rest) :]


def await_acknowledgement(connection: socket.socket, end: float) -> None:
    """Waits until the receiver's system has acknowledged everything. Only Linux tells; elsewhere it returns at once."""
    if sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415 - not on Windows
    import termios  # noqa: PLC0415 - not on Windows

    while any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))):
        raise_pending(connection)
        left(end)
        time.sleep(LOOK_EVERY_SECONDS)


def await_end(connection: socket.socket, end: float) -> None:
    """Shuts down our direction, and waits until the receiver, which then has read everything, closes its own."""
    try:
        connection.settimeout(left(end))
        if isinstance(connection, ssl.SSLSocket):
            with suppress(ssl.SSLEOFError):  # many close the connection without close_notify
                connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
        while socket.socket.recv(connection, 4_096):
            connection.settimeout(left(end))
    except TimeoutError:
        raise DeliveryFailed(
            "the receiver has not closed the connection after the last byte, so it may not have read all: "
            "if it never closes it, add confirm=false to the URL"
        ) from None


def close_tls(connection: socket.socket) -> None:
    """Sends the ``close_notify`` of TLS, which says that nothing was cut off, without waiting for an answer."""
    if isinstance(connection, ssl.SSLSocket):
        with suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
            connection.unwrap()


def left(end: float) -> float:
    """Returns the seconds until ``end``. Raises TimeoutError if there are none."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
