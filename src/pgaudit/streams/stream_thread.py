"""The thread of one stream: opens its destination while there is something to send, and sends chunk after chunk."""

import logging
import math
import threading
import time
from typing import Final

import psycopg

from pgaudit._db_errors import is_infrastructure, safe_summary
from pgaudit.errors import InvalidStream, MissingExtra
from pgaudit.settings import Settings
from pgaudit.streams import positions, replaying
from pgaudit.streams.checkpoints import StoredCheckpoints
from pgaudit.streams.daily_reports import send_report
from pgaudit.streams.destinations import open_destination
from pgaudit.streams.destinations.destination import Destination
from pgaudit.streams.destinations.report_summary import Reporter
from pgaudit.streams.failures import note_failure
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.positions import Connection, Due
from pgaudit.streams.request import Request
from pgaudit.streams.shipping import Shipper
from pgaudit.streams.throttle import Throttle
from pgaudit.streams.urls import StreamURL

logger = logging.getLogger("pgaudit.worker")

LOOK_EVERY_SECONDS: Final = 1.0
REPLAY_SECONDS: Final = 1.0  # after which it looks for something newer to send
IDLE_SECONDS: Final = 30.0  # after which a thread closes its destination and ends


class StreamThread:
    """Sends one stream: opens its destination when there is something to send."""

    def __init__(
        self, conn: Connection, name: str, settings: Settings, stopping: threading.Event, throttle: Throttle
    ) -> None:
        self._conn = conn
        self._name = name
        self._settings = settings
        self._stopping = stopping
        self._throttle = throttle
        self._destination: Destination | None = None
        self._opened_for: Request | None = None

    def run(self) -> None:
        """Sends chunk after chunk; returns when there was nothing for half a minute, or the worker stops."""
        idle, used = 0.0, math.inf
        try:
            while not self._stopping.is_set() and idle < IDLE_SECONDS:
                self._throttle.wait(used, self._stopping)
                before = time.thread_time()
                more = self.step()
                used = time.thread_time() - before
                if more:
                    idle = 0.0
                else:
                    idle += LOOK_EVERY_SECONDS
                    self._stopping.wait(LOOK_EVERY_SECONDS)
        finally:
            self.close()

    def step(self) -> bool:
        """Sends one chunk, if there is one; else a part of what is replayed. Returns whether there may be more."""
        due = positions.look(self._conn, self._name)
        if due is None:
            return False
        try:
            return self.ship(due) or self.replay(due)
        except Exception as error:
            self.close()
            if isinstance(error, psycopg.Error) and is_infrastructure(error):
                raise
            note_failure(self._conn, self._settings, due, unexpected(due, error))
            return False

    def ship(self, due: Due) -> bool:
        """Sends one chunk. Returns whether there may be more."""
        try:
            destination = self.destination(due)
        except DeliveryFailed as failure:
            note_failure(self._conn, self._settings, due, failure)
            return False
        except InvalidStream as error:
            note_failure(self._conn, self._settings, due, DestinationRefused(str(error)))
            return False
        except MissingExtra as error:
            note_failure(self._conn, self._settings, due, DeliveryFailed(f"a worker cannot send it: {error}"))
            return False
        if isinstance(destination, Reporter):
            return send_report(self._conn, self._settings, destination, due)
        return Shipper(self._conn, destination, self._settings).ship(due)

    def replay(self, due: Due) -> bool:
        """Sends a range again for a second, as if the stream was rewound. Returns whether there may be more."""
        replay = replaying.look(self._conn, self._name)
        if replay is None or due.mismatch is not None:
            return False
        end, is_done = time.monotonic() + REPLAY_SECONDS, False
        try:
            shipper = Shipper(self._conn, self.destination(due, replay), self._settings)
            while replay is not None and (is_done := replaying.replay_chunk(shipper, due, replay)):
                has_time = time.monotonic() < end and not self._throttle.is_backlog
                replay = replaying.look(self._conn, self._name) if has_time else None
        except (InvalidStream, MissingExtra) as error:
            replaying.end(self._conn, self._name, str(error))
        except DeliveryFailed as failure:  # its destination cannot be opened
            if replay is not None:
                replaying.put_off(self._conn, self._settings, due, replay, failure)
        except Exception as error:
            if isinstance(error, psycopg.Error) and is_infrastructure(error):
                raise
            if replay is not None:
                replaying.put_off(self._conn, self._settings, due, replay, unexpected(due, error))
        finally:
            self.close()  # the stream goes on as it was
        return is_done

    def destination(self, due: Due, replay: replaying.Replay | None = None) -> Destination:
        """Returns the destination; another one if the stream was changed.

        :param replay: what it is asked to take again; it is opened as for a stream that was rewound.
        """
        request = Request(
            stream=due.name,
            url=StreamURL.parse(due.url or ""),
            form=due.form,
            allow_private=due.allow_private,
            continued=due.continued and replay is None,
            started_at=replay.asked_at if replay else due.started_at,
            is_replay=replay is not None,
            next_index=due.next_index,
            checkpoints=StoredCheckpoints(self._conn),
        )
        if self._destination is None or request != self._opened_for:
            self.close()
            self._destination, self._opened_for = open_destination(request), request
        return self._destination

    def close(self) -> None:
        """Closes the destination."""
        destination, self._destination = self._destination, None
        if destination is not None:
            destination.close()


def unexpected(due: Due, error: Exception) -> DeliveryFailed:
    """Logs an unexpected error, and returns it as a failure that people see with the stream."""
    reason = safe_summary(error)
    logger.warning("the stream %s has met an error, will retry: %s", due.name, reason)
    return DeliveryFailed(f"unexpected error: {reason}")
