"""Kafka brokers: librdkafka's mock cluster. It speaks Kafka's protocol on loopback, and fails as it is told."""

import ctypes
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import trustme
from confluent_kafka import Consumer, TopicPartition

from pgaudit.streams.destinations.kafka_published import READING

PRODUCE, INIT_PRODUCER_ID = 0, 22  # the keys of requests in Kafka's protocol
(LIBRARY,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
POINTER, TEXT, NUMBER = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int


def function(name: str, returns: Any, *takes: Any) -> Any:
    """Returns a function of the library."""
    found = getattr(ctypes.CDLL(str(LIBRARY)), name)
    found.restype, found.argtypes = returns, takes
    return found


class Kafka:
    """Brokers with one topic, ``audit``."""

    def __init__(self, brokers: int = 3, partitions: int = 4) -> None:
        nothing = ctypes.create_string_buffer(512)
        config = function("rd_kafka_conf_new", POINTER)()
        function("rd_kafka_conf_set", NUMBER, POINTER, TEXT, TEXT, TEXT, ctypes.c_size_t)(
            config, b"log_level", b"0", nothing, 512
        )
        new = function("rd_kafka_new", POINTER, NUMBER, POINTER, TEXT, ctypes.c_size_t)
        self._handle = new(0, config, nothing, 512)
        self._cluster = function("rd_kafka_mock_cluster_new", POINTER, POINTER, NUMBER)(self._handle, brokers)
        self.place: str = function("rd_kafka_mock_cluster_bootstraps", TEXT, POINTER)(self._cluster).decode()
        self.partitions = partitions
        self.create("audit")

    def create(self, topic: str) -> None:
        """Creates a topic."""
        create = function("rd_kafka_mock_topic_create", NUMBER, POINTER, TEXT, NUMBER, NUMBER)
        assert create(self._cluster, topic.encode(), self.partitions, 1) == 0

    def fail(self, *codes: int, request: int = PRODUCE) -> None:
        """Answers the next requests of that kind with these errors."""
        push = function(
            "rd_kafka_mock_push_request_errors_array", None, POINTER, ctypes.c_int16, ctypes.c_size_t, POINTER
        )
        push(self._cluster, request, len(codes), (NUMBER * len(codes))(*codes))

    def answer(self) -> None:
        """Answers as it should again."""
        clear = function("rd_kafka_mock_clear_request_errors", None, POINTER, ctypes.c_int16)
        for request in (PRODUCE, INIT_PRODUCER_ID):
            clear(self._cluster, request)

    def down(self, *, is_down: bool) -> None:
        """Stops all brokers, or starts them."""
        set_state = function(f"rd_kafka_mock_broker_set_{'down' if is_down else 'up'}", NUMBER, POINTER, ctypes.c_int32)
        for broker in range(1, self.place.count(",") + 2):
            set_state(self._cluster, broker)

    def messages(self, topic: str = "audit") -> list[list[tuple[int, str | None, dict[str, str]]]]:
        """Returns index, key and headers of each message of each partition."""
        found: list[list[tuple[int, str | None, dict[str, str]]]] = [[] for _ in range(self.partitions)]
        consumer = Consumer({"bootstrap.servers": self.place, "group.id": "test", "log_level": 0, **READING})
        consumer.assign([TopicPartition(topic, number, 0) for number in range(self.partitions)])
        left = self.partitions
        while left:
            message = consumer.poll(10)
            assert message is not None
            if (error := message.error()) is not None:
                assert error.name() == "_PARTITION_EOF"
                left -= 1
                continue
            key = message.key()
            headers = {
                name: value.decode()
                for name, value in dict(message.headers() or {}).items()
                if isinstance(value, bytes)
            }
            index = json.loads(message.value() or b"")["index"]
            found[message.partition() or 0].append((index, key.decode() if key else None, headers))
        consumer.close()
        return found

    def indexes(self, topic: str = "audit") -> list[int]:
        """Returns the indexes of all messages, in their order."""
        return sorted(index for partition in self.messages(topic) for index, _, _ in partition)

    def stop(self) -> None:
        """Ends the brokers."""
        function("rd_kafka_mock_cluster_destroy", None, POINTER)(self._cluster)
        function("rd_kafka_destroy", None, POINTER)(self._handle)


@contextmanager
def kafka_brokers() -> Iterator[Kafka]:
    """Runs brokers inside the block."""
    kafka = Kafka()
    try:
        yield kafka
    finally:
        kafka.stop()


@contextmanager
def tls_listener(authority: trustme.CA) -> Iterator[tuple[int, list[bytes]]]:
    """Listens with a certificate of an authority. Yields the port, and what each client has sent, if anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(client, server_side=True) as encrypted:
                    heard.append(encrypted.recv(100))
            except OSError:
                heard.append(b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield listening.getsockname()[1], heard
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
