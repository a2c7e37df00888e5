"""Streams: what happens after an event is in the log. Each follows the log by its index.

============  ====================================================================================
catalog       adds, lists, finds and removes streams
operating     pauses and resumes them, sets them back, asks for a replay
parking       events that were refused for good: lists, retries and discards them
history       what streams have sent lately
changes       calls the functions of the database that change streams
urls          the URLs of destinations, and the secrets that they refer to; ``kinds`` has the options
request       what a stream asks of its destination
runner        a worker's threads, one for each stream that has something to send
probing       sends one event to test a destination
pace          lets streams give way while the queue has a backlog
shipping      sends one chunk, and moves the position
checkpoints   reads the signed checkpoints that cover what is sent
reporting     sends the report of a day
counting      counts the events of a day in the database
replaying     sends a range again, while there is nothing newer to send
sending       sends events in order, and finds out which of them are refused
positions     how far a stream is, in the database
outcomes      what a destination answers
segments      files of events whose names say what they have
archives      where segments are: a directory, or a bucket
checking      verifies an archive of segments, without the database
buckets       S3: what is put once, and never overwritten
forms         the forms in which an event is sent
destinations  where events are sent
============  ====================================================================================
"""

from pgaudit.streams.catalog import Stream, add, found, listed, note_added, note_removed, remove
from pgaudit.streams.history import Delivery, deliveries
from pgaudit.streams.operating import pause, replay, resume, rewind, stop_replay
from pgaudit.streams.parking import ParkedEvent, discard, parked, retry

__all__ = [
    "Delivery",
    "ParkedEvent",
    "Stream",
    "add",
    "deliveries",
    "discard",
    "found",
    "listed",
    "note_added",
    "note_removed",
    "parked",
    "pause",
    "remove",
    "replay",
    "resume",
    "retry",
    "rewind",
    "stop_replay",
]
