"""Syslog: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587, with counted octets) and TLS (RFC 5425), in the log's order.

Syslog has no acknowledgements. Over TCP and TLS, events count as accepted when the receiver has read them (see
``tcp_delivery``); over UDP when they were sent: their arrival is not confirmed.
"""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgaudit.streams.destinations.addresses import host_of
from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.destinations.destination import BaseDestination, Destination, Limits
from pgaudit.streams.destinations.sockets import connect, describe_error, raise_pending, wrap_tls
from pgaudit.streams.destinations.syslog_message import Composer, host_name
from pgaudit.streams.destinations.tcp_delivery import deliver
from pgaudit.streams.forms import form_of
from pgaudit.streams.kinds import FACILITIES
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.streams.urls import StreamURL
from pgaudit.trail.entry import Entry

PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
DEFAULT_LARGEST: Final = 8_000  # bytes: rsyslog cuts off what is behind 8,096 unless it is told otherwise
EXAMPLES: Final = 32_473  # the enterprise number that RFC 5612 keeps for examples: it can be nobody's
PACE_SECONDS: Final = 0.001  # between two datagrams: the buffer of a receiver has 200 kB, and drops what is more


def open_destination(request: Request) -> Destination:
    """Returns the receiver of a stream.

    :raises DestinationRefused: a certificate cannot be used.
    """
    url = request.url
    host, port = host_of(url.netloc)
    place = Place(host, port or PORTS[url.scheme], request.allow_private)
    composer = Composer(
        form_of(request.form),
        facility=FACILITIES.index(url.option("facility", "audit")),
        app=url.option("app", "pgaudit"),
        enterprise=url.number("enterprise", EXAMPLES),
        largest=url.number("max", DEFAULT_LARGEST),
        host=host_name(),
    )
    if url.scheme == "udp":
        return Datagrams(place, composer)
    context = with_certificate(tls_context(url), url) if url.scheme == "tls" else None
    return Streamed(place, composer, context, confirm=url.flag("confirm", default=True))


def with_certificate(context: ssl.SSLContext, url: StreamURL) -> ssl.SSLContext:
    """Returns the context with our own certificate, if the URL names one.

    :raises DestinationRefused: it cannot be read.
    """
    certificate, key = url.options.get("cert"), url.options.get("key")
    if certificate:
        try:
            context.load_cert_chain(certificate, key, password="")  # a key that needs one would ask the terminal
        except OSError as error:
            reason = "no certificate and key in PEM that match" if isinstance(error, ssl.SSLError) else error.strerror
            raise DestinationRefused(f"cert={certificate} cannot be used: {reason}") from None
    return context


@dataclass(frozen=True, slots=True)
class Place:
    """Where the receiver is."""

    host: str
    port: int
    allow_private: bool

    def connect(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Returns a new connection; see ``sockets``."""
        return connect(self.host, self.port, allow_private=self.allow_private, kind=kind)


class Streamed(BaseDestination):
    """A receiver over TCP or TLS: each chunk has a connection of its own."""

    limits = Limits(events=1_000)

    def __init__(self, place: Place, composer: Composer, context: ssl.SSLContext | None, *, confirm: bool) -> None:
        self._place = place
        self._composer = composer
        self._context = context
        self._confirm = confirm

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends the events; returns when the receiver has read them."""
        content = b"".join(counted(self._composer.compose(entry)) for entry in entries)
        connection = self._place.connect()
        if self._context is not None:
            connection = wrap_tls(connection, self._context, self._place.host)
        deliver(connection, content, confirm=self._confirm)
        return Receipt(len(content))


class Datagrams(BaseDestination):
    """A receiver over UDP, which never says whether it has something."""

    limits = Limits(events=100)

    def __init__(self, place: Place, composer: Composer) -> None:
        self._place = place
        self._composer = composer

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Sends a datagram for each event, slowly enough for an ordinary receiver.

        :raises DeliveryFailed: the receiver's system has reported that the port is closed. Often it reports nothing.
        """
        size = 0
        with self._place.connect(socket.SOCK_DGRAM) as connection:
            try:
                for entry in entries:
                    size += connection.send(self._composer.compose(entry))
                    time.sleep(PACE_SECONDS)
                raise_pending(connection)
            except OSError as error:
                raise DeliveryFailed(f"{self._place.host} takes no datagrams: {describe_error(error)}") from None
        return Receipt(size)


def counted(message: bytes) -> bytes:
    """Returns a message with its length before it.

    >>> counted(b"<110>1 - - - - - -")
    b'18 <110>1 - - - - - -'
    """
    return b"%d %b" % (len(message), message)
