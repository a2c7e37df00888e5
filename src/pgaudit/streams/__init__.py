"""Streams: what happens after an event is in the log. Each follows the log by its index.

============  ====================================================================================
catalog       adds, lists, pauses, sets back and removes streams
urls          the URLs of destinations, and the secrets that they refer to; ``kinds`` has the options
request       what a stream asks of its destination
runner        a worker's threads, one for each stream that has something to send
probing       sends one event to test a destination
shipping      sends one chunk, and moves the position
sending       sends events in order, and finds out which of them are refused
positions     how far a stream is, in the database
outcomes      what a destination answers
forms         the forms in which an event is sent
destinations  where events are sent
============  ====================================================================================
"""

from pgaudit.streams.catalog import (
    Delivery,
    ParkedEvent,
    Stream,
    add,
    deliveries,
    discard,
    found,
    listed,
    parked,
    pause,
    remove,
    resume,
    retry,
    rewind,
)

__all__ = [
    "Delivery",
    "ParkedEvent",
    "Stream",
    "add",
    "deliveries",
    "discard",
    "found",
    "listed",
    "parked",
    "pause",
    "remove",
    "resume",
    "retry",
    "rewind",
]
