"""Receivers of syslog over TCP and TLS, well-behaved and not: real servers on real sockets."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import trustme

Serve = Callable[[socket.socket, Event], None]


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """Lets a function do with each connection what it wants; yields the port."""
    stopping = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while not stopping.is_set():
                connection, _ = listener.accept()
                Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection, stopping)
                except OSError:
                    return  # the client has gone, as it should

        thread = Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopping.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def read_all(connection: socket.socket) -> bytes:
    """Returns what comes until the other side ends."""
    content = b""
    while part := connection.recv(65_536):
        content += part
    return content


def relaying(port: int, context: ssl.SSLContext, *, farewell: bool = True) -> Serve:
    """Returns a receiver of TLS that passes on to a port what it reads, as a proxy before rsyslog does.

    :param farewell: whether it ends TLS as the standard says, before it closes the connection.
    """

    def serve(connection: socket.socket, _: Event) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as encrypted:
            content = read_all(encrypted)
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(content)
            if farewell:
                encrypted.unwrap()

    return serve


def closing_at_once(connection: socket.socket, _: Event) -> None:
    """Accepts a connection and closes it."""
    connection.close()


def closing_early(connection: socket.socket, _: Event) -> None:
    """Reads some of what comes, and closes the connection: a receiver that is stopped."""
    connection.recv(100)


def killed(connection: socket.socket, stopping: Event) -> None:
    """Reads nothing, lets everything arrive, and dies: its system had acknowledged all of it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    connection.recv(1, socket.MSG_PEEK)
    stopping.wait(0.3)


def never_closing(connection: socket.socket, stopping: Event) -> None:
    """Reads everything, and keeps its side open."""
    read_all(connection)
    stopping.wait(60)


def never_reading(connection: socket.socket, stopping: Event) -> None:
    """Accepts a connection, and reads nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stopping.wait(60)


class Certificates:
    """A certificate authority, the certificate of a server, and that of a client, as files."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.authority, self.client = directory / "ca.pem", directory / "client.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("worker@example.com").private_key_and_cert_chain_pem.write_to_path(str(self.client))
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self.server)

    def requiring_a_client(self) -> ssl.SSLContext:
        """Returns the server's context, which lets in clients of the authority alone."""
        self.server.load_verify_locations(self.authority)
        self.server.verify_mode = ssl.CERT_REQUIRED
        return self.server
