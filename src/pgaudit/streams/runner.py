"""Runs the streams of a worker: a thread for each one that has something to send."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pgaudit._db_errors import safe_summary
from pgaudit.settings import Settings
from pgaudit.streams.positions import Connection
from pgaudit.streams.stream_thread import LOOK_EVERY_SECONDS, StreamThread
from pgaudit.streams.throttle import Throttle

logger = logging.getLogger("pgaudit.worker")

MOST_THREADS: Final = 32

Connect = Callable[[Settings, str], Connection]


@dataclass
class Runner:
    """Starts a thread for each stream that is due; they end by themselves."""

    settings: Settings
    connect: Connect
    throttle: Throttle = field(default_factory=Throttle)
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: dict[str, threading.Thread] = field(default_factory=dict[str, threading.Thread])

    def start(self, names: Iterable[str]) -> None:
        """Starts a thread for each of these streams that has none."""
        self.threads = {name: thread for name, thread in self.threads.items() if thread.is_alive()}
        for name in names:
            if name not in self.threads and len(self.threads) < MOST_THREADS and not self.stopping.is_set():
                thread = threading.Thread(target=self.run, args=(name,), name=f"stream {name}", daemon=True)
                self.threads[name] = thread
                thread.start()

    def run(self, name: str) -> None:
        """Sends what a stream has, until it has had nothing for a while. An error ends the thread, and is logged."""
        try:
            with self.throttle.share(), self.connect(self.settings, f"pgaudit stream {name}") as conn:
                StreamThread(conn, name, self.settings, self.stopping, self.throttle).run()
        except Exception as error:  # noqa: BLE001 - the stream is due again, and gets another thread
            logger.warning("the stream %s was interrupted, will retry: %s", name, safe_summary(error))
            self.stopping.wait(LOOK_EVERY_SECONDS)

    def stop(self, seconds: float) -> None:
        """Lets each thread finish the chunk that is on its way, for at most that many seconds for each."""
        self.stopping.set()
        for thread in self.threads.values():
            thread.join(seconds)
