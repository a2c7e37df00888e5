"""NATS JetStream: a stream there that has each event of the log exactly once, for ever.

Each event is published with its index as ``Nats-Expected-Last-Sequence``, the sequence that JetStream must have reached
before it. So the event's sequence there is its index + 1, and JetStream refuses duplicates and gaps, without a time
window for duplicates. The position can always be compared with the log.
"""

# pyright: reportUnknownMemberType=false
# The client leaves open what its dicts hold.

from collections.abc import Sequence
from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.nats_client import ANSWER_SECONDS, Connection
from pgaudit.streams.destinations.nats_subject import subject_of
from pgaudit.streams.forms import writer_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

HASH: Final = "Pgaudit-Leaf-Hash"
EXPECTED: Final = "Nats-Expected-Last-Sequence"


def open_destination(request: Request) -> "JetStream":
    """Returns the stream of JetStream; it is made if there is none.

    :raises DestinationRefused: the server denies access.
    """
    return JetStream(request)


class JetStream(BaseDestination):
    """Publishes events to one stream of JetStream, without waiting for each acknowledgement."""

    limits = Limits(events=1_000, bytes=8_000_000)

    def __init__(self, request: Request) -> None:
        self._write = writer_of(request.form)
        self._ours = request.stream
        self._name = request.url.option("stream")
        self._prefix = request.url.option("prefix", "audit")
        self._replicas = request.url.number("replicas", 1)
        self._connection = Connection(request)

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Publishes what the stream does not have yet; returns when it is stored."""
        return self._connection.run(self._send(entries))

    def check(self) -> None:
        """Checks that the server gives access, and creates the stream if there is none."""
        self._connection.run(self._check())

    async def _check(self) -> None:
        await self._stream(await self._connection.jetstream())

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    async def _send(self, entries: Sequence[Entry]) -> Receipt:
        jetstream = await self._connection.jetstream()
        last = (await self._stream(jetstream)).state.last_seq
        if last < entries[0].index:
            raise DestinationRefused(
                f"the stream {self._name} of JetStream {f'ends with index {last - 1}' if last else 'is empty'}, and "
                f"{entries[0].index} is next: set ours back with pgaudit stream rewind {self._ours} {last}. If the log "
                f"has index {last} no more, its partition was detached, and JetStream cannot get the whole log"
            )
        known = [entry for entry in entries if entry.index < last]
        if known:
            await self._compare(jetstream, known[-1])
        return await self._publish(jetstream, entries[len(known) :], len(known))

    async def _stream(self, jetstream: JetStreamContext) -> Any:
        """Returns how the stream is. It is made if there is none: nothing can be deleted from it."""
        try:
            return await jetstream.stream_info(self._name)
        except NotFoundError:
            return await jetstream.add_stream(
                StreamConfig(
                    name=self._name, subjects=[f"{self._prefix}.>"], deny_delete=True, deny_purge=True,
                    num_replicas=self._replicas, description="The audit log: sequence = index + 1",
                )
            )  # fmt: skip

    async def _compare(self, jetstream: JetStreamContext, entry: Entry) -> None:
        """Checks that what the stream has is of this log.

        :raises DestinationRefused: it has another event at that place.
        """
        message = await jetstream.get_msg(self._name, entry.index + 1)
        if (message.headers or {}).get(HASH) != entry.leaf_hash.hex():
            raise DestinationRefused(
                f"the stream {self._name} has another event at index {entry.index}: the database was restored from an "
                "older backup. Send the log to a new stream of JetStream, and keep the old one as evidence"
            )

    async def _publish(self, jetstream: JetStreamContext, entries: Sequence[Entry], known: int) -> Receipt:
        """Publishes events, without waiting for one before the next."""
        futures: list[Any] = []
        size = 0
        for entry in entries:
            payload = self._write(entry).encode()
            size += len(payload)
            headers = {EXPECTED: str(entry.index), HASH: entry.leaf_hash.hex()}
            subject = subject_of(self._prefix, entry)
            futures.append(await jetstream.publish_async(subject, payload, ANSWER_SECONDS, self._name, headers))
        stored = await self._connection.stored(futures)
        if stored < len(entries):
            message = f"JetStream refused an event: {self._connection.refusal}"
            raise DeliveryFailed(message, done=known + stored, receipt=Receipt(size))
        return Receipt(size)
