"""Hands bytes over by TCP or TLS, in a protocol without answers, and finds out whether the other side has read them.

It would not be enough that the system has taken them: they may be lost with the connection. So each chunk has a
connection of its own, which ends in a way that tells:

1. The bytes are sent, until the other side's *system* has acknowledged all of them.
2. Our direction is closed. A receiver that has read everything comes to its end, and closes its own direction.
3. One that closes before, or ends, while something is unread, makes its system reset the connection.

So the end of the other direction, and no reset, means that the receiver's *program* has read everything. What it does
with that nobody can know.
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
    """Sends bytes and closes the connection.

    :param confirm: wait until the other side has read them; without, until its system has them.
    :raises DeliveryFailed: that has not come in time. It may have read all of them, a part or none.
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
    """Sends bytes; raises TimeoutError if that takes too long."""
    rest = memoryview(content)
    while rest:
        connection.settimeout(left(end))
        rest = rest[connection.send(rest) :]


def await_acknowledgement(connection: socket.socket, end: float) -> None:
    """Waits until the other side's system has acknowledged everything, where our system says so: that is Linux."""
    if sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415 - not on Windows
    import termios  # noqa: PLC0415 - not on Windows

    while any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))):
        raise_pending(connection)
        left(end)
        time.sleep(LOOK_EVERY_SECONDS)


def await_end(connection: socket.socket, end: float) -> None:
    """Closes our direction, and waits until the other side closes its own, having read everything."""
    try:
        connection.settimeout(left(end))
        if isinstance(connection, ssl.SSLSocket):
            with suppress(ssl.SSLEOFError):  # many close the connection without the farewell of TLS
                connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
        while socket.socket.recv(connection, 4_096):
            connection.settimeout(left(end))
    except TimeoutError:
        raise DeliveryFailed(
            "the receiver has not closed the connection after it had everything, so nobody knows that it has read it: "
            "if it never does, add confirm=false to the URL"
        ) from None


def close_tls(connection: socket.socket) -> None:
    """Tells a receiver of TLS that nothing is missing at the end, without waiting for its answer."""
    if isinstance(connection, ssl.SSLSocket):
        with suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
            connection.unwrap()


def left(end: float) -> float:
    """Returns the seconds that are left; raises TimeoutError if there are none."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
