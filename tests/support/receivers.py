"""Receivers of streams over HTTP and HTTPS, well-behaved and not: real servers on real sockets."""

import gzip
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import trustme

from pgaudit.streams.request import Request as StreamRequest
from pgaudit.streams.urls import StreamURL


@dataclass(frozen=True)
class Request:
    """What a client sent: names of headers in small letters, the body without its compression."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int  # the client's port: the same for all requests of one connection
    server_name: str | None

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What the server answers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Response = Callable[[Request], Reply]


class Authority:
    """A certificate authority of the tests, and a server's certificate for these names."""

    def __init__(self, directory: Path, *names: str) -> None:
        authority = trustme.CA()
        self.file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.file))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(self.context)
        self.context.sni_callback = lambda connection, name, _: setattr(connection, "asked_name", name)


@contextmanager
def serving(answer: Response, authority: Authority | None = None) -> Iterator[str]:
    """Serves the answers of that function over HTTP/1.1; yields ``http://127.0.0.1:PORT``, or with https."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = getattr(self.connection, "asked_name", None)
            reply = answer(Request(self.path, headers, body, self.client_address[1], asked))
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed into the report of the tests."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that goes away is what some tests want."""

        def get_request(self) -> tuple[Any, Any]:
            connection, address = self.socket.accept()
            if authority is None:
                return connection, address
            return authority.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'https' if authority else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving_raw(serve: Callable[[socket.socket, Event], None]) -> Iterator[str]:
    """Lets a function do with each connection what it wants, until it is told to stop; yields the URL."""
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
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield url
        finally:
            stopping.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def hang(connection: socket.socket, stopping: Event) -> None:
    """Reads the request, and never answers."""
    connection.recv(65_536)
    stopping.wait(60)


def drip(connection: socket.socket, stopping: Event) -> None:
    """Answers one byte at a time, each one in time: headers that never end."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not stopping.wait(0.05):
        connection.sendall(b"a")


def drip_body(connection: socket.socket, stopping: Event) -> None:
    """Answers with success, and a body that comes one byte at a time."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not stopping.wait(0.05):
        connection.sendall(b"a")


def reset(connection: socket.socket, _: Event) -> None:
    """Breaks off in the middle of an answer."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def babble(connection: socket.socket, _: Event) -> None:
    """Answers with something else than HTTP."""
    connection.recv(65_536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 hunter2\r\n")


def flood(connection: socket.socket, stopping: Event) -> None:
    """Answers with success and a body without an end, as fast as it is read."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stopping.is_set():
        connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def never_read(connection: socket.socket, stopping: Event) -> None:
    """Accepts a connection, and reads nothing."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stopping.wait(60)


def request_to(url: str, **options: Any) -> StreamRequest:
    """Returns what a destination needs to know of a stream to that URL; private addresses are allowed."""
    return StreamRequest("siem", StreamURL.parse(url), **{"allow_private": True, **options})
