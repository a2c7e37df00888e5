"""Finds out which events at the end of a topic were published, but not noted in the stream's position."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pgaudit.streams.destinations.kafka_client import ANSWER_SECONDS
from pgaudit.streams.outcomes import DestinationRefused

INDEX: Final = "pgaudit-index"
HASH: Final = "pgaudit-leaf-hash"
EVENT: Final = "pgaudit-event-id"
STREAM: Final = "pgaudit-stream"
READING: Final = {"enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 20}


@dataclass(frozen=True, slots=True)
class Published:
    """An event that a topic has: its index, the hash of its leaf, and which stream has published it."""

    index: int
    leaf_hash: str
    stream: str


def published_from(options: dict[str, Any], topic: str, stream: str, position: int, most: int) -> dict[int, str]:
    """Returns the events from this index on that a stream has published already, each with its hash.

    That was done by someone who could not note it any more. It is at the end of each partition.

    :param stream: its name, and when it was added or rewound: what it has published before that does not count.
    :param most: that there can be.
    :raises DestinationRefused: there are more.
    :raises KafkaException: Kafka does not answer.
    """
    group = f"pgaudit-{topic}"  # asked for by the client; nothing is stored in it
    consumer = Consumer(options | READING | {"group.id": group})
    try:
        found = ahead(ends(consumer, topic, 1), stream, position)
        if found:
            found = ahead(ends(consumer, topic, most + 1), stream, position)
    finally:
        consumer.close()
    if len(found) > most:
        raise DestinationRefused(
            f"the topic {topic} has more than {most} events from index {position} on, which is next here: the database "
            "was restored from an older backup. Send the log to a new topic, and keep the old one as evidence"
        )
    return found


def ahead(events: Iterable[Published], stream: str, position: int) -> dict[int, str]:
    """Returns the events of a stream from this index on, each with its hash."""
    return {event.index: event.leaf_hash for event in events if event.stream == stream and event.index >= position}


def ends(consumer: Consumer, topic: str, most: int) -> list[Published]:
    """Returns the last events of each partition of a topic, at most that many of each."""
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    starts: list[TopicPartition] = []
    for number in found.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_SECONDS)
        if high > low:
            starts.append(TopicPartition(topic, number, max(low, high - most)))
    consumer.assign(starts)
    return [event for message in messages(consumer, len(starts)) if (event := published(message)) is not None]


def messages(consumer: Consumer, partitions: int) -> Iterator[Message]:
    """Yields the messages up to the end of each assigned partition."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while partitions > 0:
        message = consumer.poll(max(deadline - time.monotonic(), 0))
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the client's own error
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - likewise
            partitions -= 1
        else:
            raise KafkaException(error)


def published(message: Message) -> Published | None:
    """Returns the event of a message; None if it is not one of pgaudit."""
    headers = {name: value for name, value in dict(message.headers() or {}).items() if isinstance(value, bytes)}
    if not {INDEX, HASH, STREAM} <= headers.keys() or not headers[INDEX].isdigit():
        return None
    return Published(int(headers[INDEX]), headers[HASH].decode(), headers[STREAM].decode())
