"""Kafka: one topic, in which the events of each target are in the order of the log.

The producer is idempotent, so its own retries make no duplicates. An event's key is its first target, so all events of
a target are in one partition, in order. Headers have index, leaf hash and event id. A stream that continues reads the
end of the topic first, so events that were published by a worker that died before it noted them are not published
again. That is no transaction: a request in flight when a worker dies may arrive after that look, and then its events
are there twice.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pgaudit.streams.destinations.addresses import check_hosts
from pgaudit.streams.destinations.destination import BaseDestination, Limits
from pgaudit.streams.destinations.kafka_client import (
    ANSWER_SECONDS,
    FATAL,
    PORT,
    ConnectionErrors,
    connection_options,
)
from pgaudit.streams.destinations.kafka_published import EVENT, HASH, INDEX, STREAM, published_from
from pgaudit.streams.forms import writer_of
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused, EventsRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry

MOST_EVENTS: Final = 2_000
LOOK_SECONDS: Final = 10
TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
IDEMPOTENT: Final = {
    "enable.idempotence": True, "acks": "all", "delivery.timeout.ms": (ANSWER_SECONDS - 5) * 1_000, "linger.ms": 5,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as Java's clients do it
}  # fmt: skip


def open_destination(request: Request) -> "Topic":
    """Returns the topic of a stream; Kafka is asked when the first events are sent.

    :raises DestinationRefused: an option cannot be used, or a secret is not there.
    """
    return Topic(request)


class Topic(BaseDestination):
    """Publishes events to a topic, a chunk of them at a time."""

    limits = Limits(events=MOST_EVENTS, bytes=8_000_000)

    def __init__(self, request: Request) -> None:
        self._name = request.url.path.strip("/")
        self._write = writer_of(request.form)
        self._continued = request.continued
        self._source = f"{request.stream} {request.started_at}"
        self._position = request.next_index
        self._connection_errors = ConnectionErrors()
        self._options = connection_options(request) | {"error_cb": self._connection_errors}
        self._check = partial(check_hosts, request.url.netloc, PORT, allow_private=request.allow_private)
        self._producer: Producer | None = None
        self._published: dict[int, str] = {}  # what the topic has, and the stream's position does not say yet

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Publishes what the topic does not have yet; returns when all its replicas have it."""
        with self._translated():
            producer = self._connected()
            self._compare(entries)
            receipt = self._publish(producer, entries)
        for entry in entries:
            self._published.pop(entry.index, None)
        self._position = max(self._position, entries[-1].index + 1)
        return receipt

    def check(self) -> None:
        """Checks that Kafka gives access, and has the topic."""
        with self._translated():
            self._connected()

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Raises what the client raises inside the block as DeliveryFailed or DestinationRefused."""
        try:
            yield
        except KafkaException as error:
            raise self._failure(error.args[0]) from None
        except SystemError as error:  # how the client raises what is fatal for the producer, while it reports
            if not isinstance(error.__cause__, KafkaException):
                raise
            raise self._failure(error.__cause__.args[0]) from None

    def close(self) -> None:
        """Closes the connection, and drops what is on its way."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            with suppress(KafkaException):  # a fatal error, for which it is closed, is raised once more
                producer.close()

    def _connected(self) -> Producer:
        """Returns the producer. A new one begins with a look at the end of the topic."""
        if self._producer is None:
            self._check()
            self._connection_errors.reason = None
            self._producer = Producer(self._options | IDEMPOTENT)
            self._require_topic(self._producer)
            if self._continued:
                self._published |= published_from(
                    self._options, self._name, self._source, self._position, 2 * MOST_EVENTS
                )
        return self._producer

    def _require_topic(self, producer: Producer) -> None:
        """Raises KafkaException unless Kafka answers, and has the topic."""
        try:
            found = producer.list_topics(self._name, timeout=LOOK_SECONDS).topics[self._name]
        finally:
            producer.poll(0)  # reports errors of the connection to error_cb
        if found.error is not None:
            raise KafkaException(found.error)

    def _compare(self, entries: Sequence[Entry]) -> None:
        """Checks that what the topic has is of this stream.

        :raises DestinationRefused: it has another event at an index.
        """
        hashes = {entry.index: entry.leaf_hash.hex() for entry in entries}
        for index, leaf_hash in self._published.items():
            if entries[0].index <= index <= entries[-1].index and hashes.get(index) != leaf_hash:
                raise DestinationRefused(
                    f"the topic {self._name} has another event at index {index}: the database was restored from an "
                    "older backup. Send the log to a new topic, and keep the old one as evidence"
                )

    def _publish(self, producer: Producer, entries: Sequence[Entry]) -> Receipt:
        """Publishes events, and waits for Kafka's answers to all of them."""
        errors: dict[int, KafkaError] = {}
        size = 0
        sent = [entry for entry in entries if entry.index not in self._published]
        for entry in sent:
            size += self._produce(producer, entry, errors)
        unanswered = producer.flush(ANSWER_SECONDS)
        if not errors and not unanswered:
            return Receipt(size)
        if not unanswered and all(error.code() in TOO_LARGE for error in errors.values()):
            raise self._refusal(entries, errors)
        missing = {entry.index for entry in sent} - self._published.keys()
        done = next(n for n, entry in enumerate(entries) if entry.index in missing)
        error = next(iter(errors.values()), KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the client's own error
        failure = self._failure(error)
        failure.done, failure.receipt = done, Receipt(size)
        raise failure

    def _produce(self, producer: Producer, entry: Entry, errors: dict[int, KafkaError]) -> int:
        """Publishes an event, without waiting. Returns its size."""
        payload = self._write(entry).encode()
        headers: dict[str, str | bytes | None] = {
            INDEX: str(entry.index), HASH: entry.leaf_hash.hex(), EVENT: str(entry.event_id), STREAM: self._source
        }  # fmt: skip
        answered = partial(self._note, entry, errors)
        producer.produce(self._name, payload, entry.target, headers=headers, on_delivery=answered)
        return len(payload)

    def _note(self, entry: Entry, errors: dict[int, KafkaError], error: KafkaError | None, _message: Message) -> None:
        """Notes Kafka's answer to an event; the client calls this."""
        if error is None:
            self._published[entry.index] = entry.leaf_hash.hex()
        else:
            errors[entry.index] = error

    def _refusal(self, entries: Sequence[Entry], errors: dict[int, KafkaError]) -> EventsRefused:
        """Returns that events are too large. What was published with them is known, and not published again."""
        index, error = next(iter(errors.items()))
        return EventsRefused(f"Kafka refuses {'this event' if len(entries) == 1 else f'event {index}'}: {error.name()}")

    def _failure(self, error: KafkaError) -> DeliveryFailed:
        """Closes the connection, and returns the error for the stream. The next attempt reads the topic's end again."""
        if error.code() == FATAL and self._producer is not None:
            self._connection_errors.wait(self._producer)
        failure = self._connection_errors.failure(error, self._name)
        self.close()
        return failure
