"""What a stream asks of its destination."""

from dataclasses import dataclass

from pgaudit.streams.urls import StreamURL


@dataclass(frozen=True, slots=True)
class Request:
    """What a destination needs to know of its stream.

    :ivar stream: the stream's name.
    :ivar form: ``native``, ``cloudevents``, ``ocsf`` or ``ecs``.
    :ivar allow_private: whether addresses of private networks are allowed.
    :ivar continued: whether it goes on behind the last event that was accepted; it was not just added or set back.
    """

    stream: str
    url: StreamURL
    form: str = "native"
    allow_private: bool = False
    continued: bool = False
