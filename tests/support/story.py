"""The story of streams: receivers that are slow, down or refuse, workers that are killed, servers that stop."""

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from pgaudit import AuditEvent, AuditLog, Settings
from pgaudit.testing.server import TemporaryServer
from tests.support.nats import NatsServer
from tests.support.processes import kill, start_worker
from tests.support.receivers import Reply, Request


@dataclass
class Hook:
    """A receiver of webhooks.

    :ivar down_until: until when, by the monotonic clock, it answers that it is not available.
    :ivar refuses: which indexes it refuses for good.
    :ivar seconds: how long it takes for each answer.
    :ivar taken: index and key of each event that it has taken, in their order.
    """

    down_until: float = 0.0
    refuses: Callable[[int], bool] = lambda _index: False
    seconds: float = 0.0
    taken: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        """Answers one request."""
        time.sleep(self.seconds)
        if time.monotonic() < self.down_until:
            return Reply(503)
        index = request.json["index"]
        if self.refuses(index):
            return Reply(422)
        with self.lock:
            self.taken.append((index, request.headers["webhook-id"]))
        return Reply(204)

    @property
    def first_taken(self) -> list[int]:
        """The indexes in the order in which they came first."""
        return list(dict.fromkeys(index for index, _ in self.taken))

    @property
    def sent_again(self) -> int:
        """How many came that were there already."""
        return len(self.taken) - len(self.first_taken)


@contextmanager
def killed_workers(dsn: str, count: int, every: float, environment: Mapping[str, str]) -> Iterator[list[int]]:
    """Runs that many workers inside the block, of which one is killed and started again every so many seconds.

    Yields the list of those that were killed.
    """
    running = [start_worker(dsn, "pgaudit", subprocess.DEVNULL, **environment) for _ in range(count)]
    killed: list[int] = []
    stopping = threading.Event()

    def act() -> None:
        while not stopping.wait(random.uniform(0.4, 1.6) * every):
            victim = random.randrange(count)
            kill(running[victim])
            killed.append(running[victim].pid)
            running[victim] = start_worker(dsn, "pgaudit", subprocess.DEVNULL, **environment)

    killer = threading.Thread(target=act)
    killer.start()
    try:
        yield killed
    finally:
        stopping.set()
        killer.join()
        for process in running:
            kill(process)


@contextmanager
def stopped_twice(server: TemporaryServer, nats: NatsServer, seconds: float) -> Iterator[None]:
    """Stops Postgres twice inside the block, and NATS once, while everything runs: after half and all of the time."""

    def act() -> None:
        time.sleep(seconds / 2)
        halt(server)
        nats.stop(kill=True)
        nats.start()
        time.sleep(seconds / 2)
        halt(server)

    actor = threading.Thread(target=act)
    actor.start()
    try:
        yield
    finally:
        actor.join()


def halt(server: TemporaryServer) -> None:
    """Stops Postgres as a power cut would, and starts it again a second later."""
    server.halt("immediate")
    time.sleep(1)
    server.start()


def write(dsn: str, count: int) -> None:
    """Records that many events, 20 in each transaction, through outages of the server. Each tenth is a payment."""
    audit = AuditLog(Settings(dsn=dsn))
    actions = ["claim.paid" if number % 10 == 0 else "claim.approved" for number in range(count)]
    waiting = [AuditEvent(action=action, actor="user:42", target=f"claim:{n}") for n, action in enumerate(actions)]
    while waiting:
        try:
            with psycopg.connect(dsn, connect_timeout=5) as conn:
                while waiting:
                    with conn.transaction():
                        audit.record(conn, *waiting[:20])
                    del waiting[:20]
        except psycopg.OperationalError:
            time.sleep(0.1)
