"""How a stream connects to Kafka, and what Kafka's errors mean for it."""

import logging
import time
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from pgaudit.streams.destinations.certificates import tls_context
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.request import Request

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 30
REASON_SECONDS: Final = 2.0
PORT: Final = 9092
# Librdkafka would write to standard error: what matters comes as an error to the call that meets it.
QUIET: Final = {"log_level": 0, "logger": logging.getLogger("pgaudit.kafka")}
REFUSALS: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - how the client names its own errors
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
FATAL: Final = KafkaError._FATAL  # noqa: SLF001 - likewise
UNTRUSTED: Final = KafkaError._SSL  # noqa: SLF001 - likewise
SILENT: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})  # noqa: SLF001 - likewise
MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001 - likewise


class ConnectionErrors:
    """Remembers why there is no connection: the client retries by itself, and then only reports a timeout."""

    def __init__(self) -> None:
        self.reason: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Notes an error of the connection; the client calls this."""
        if error.code() in {UNTRUSTED, *REFUSALS}:
            self.reason = error

    def wait(self, producer: Producer) -> None:
        """Waits for the reason behind a fatal error, which the client reports a moment after the error itself."""
        end = time.monotonic() + REASON_SECONDS
        while self.reason is None and time.monotonic() < end:
            with suppress(KafkaException):
                producer.poll(0.05)

    def failure(self, error: KafkaError, topic: str) -> DeliveryFailed:
        """Returns what an error means for the stream. The name of an error has no secret."""
        error = self.reason or error
        if error.code() in REFUSALS:
            return DestinationRefused(
                f"Kafka denies access ({error.name()}): check user, password and mechanism, and the rights "
                f"to describe, read and write the topic {topic}"
            )
        if error.code() == UNTRUSTED:
            return DeliveryFailed("Kafka cannot be reached over TLS: check its certificate and the option ca")
        if error.code() in MISSING:
            return DeliveryFailed(f"Kafka has no topic {topic}: create it")
        if error.code() in SILENT:
            return DeliveryFailed(
                f"Kafka does not answer ({error.name()}): look at host and port, and whether it is kafka or kafka+tls"
            )
        return DeliveryFailed(f"Kafka does not take events: {error.name()}")


def connection_options(request: Request) -> dict[str, Any]:
    """Returns how to connect, with the secrets that the URL refers to.

    :raises DestinationRefused: a secret is not there, or the file of authorities cannot be read.
    """
    url = request.url
    if ("user" in url.options) != ("password" in url.options):
        raise DestinationRefused("user= and password= belong together: give both in the URL, or none")
    if url.options.get("ca"):
        tls_context(url)  # whose error says more than the client's
    encrypted, user = url.scheme == "tls", url.options.get("user")
    protocol = ("SASL_SSL" if encrypted else "SASL_PLAINTEXT") if user else ("SSL" if encrypted else "PLAINTEXT")
    options = {
        "bootstrap.servers": url.netloc, "client.id": f"pgaudit-{request.stream}", "security.protocol": protocol,
        "socket.connection.setup.timeout.ms": CONNECT_SECONDS * 1_000, "ssl.ca.location": url.options.get("ca"),
        "sasl.mechanism": url.option("mechanism", "SCRAM-SHA-512") if user else None,
        "sasl.username": user, "sasl.password": url.secret("password"), **QUIET,
    }  # fmt: skip
    return {name: value for name, value in options.items() if value is not None}
