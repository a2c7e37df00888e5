"""Streams send events to other systems after they are in the log. Each stream follows the log by its index.

====================  =============================================================================
catalog               adds, lists, finds and removes streams
operating             pauses and resumes them, rewinds them, asks for a replay
parking               events that were refused for good: lists, retries and discards them
history               what streams have sent lately: deliveries, and their sums for pictures
changes               calls the functions of the database that change streams
urls, kinds           the URLs of destinations: their schemes and options, and secrets that they refer to
request               what a stream asks of its destination
runner                starts a thread for each stream of a worker that is due
stream_thread         opens the destination, and sends chunk after chunk
throttle              lets streams give way while the queue has a backlog
shipping              sends one chunk, and moves the position
sending               sends events in order, and finds out which of them are refused
positions             reads and writes in the database how far a stream is
failures              schedules the next attempt after a failure, or pauses the stream
replaying             sends a range again, while there is nothing newer to send
daily_reports         sends the report of a day; daily_counts counts its events
checkpoints           reads the signed checkpoints that cover what is sent
outcomes              what a destination answers
probing               sends one event to test a destination
segments              files of events whose names say what they have
segment_storage       where segments are: a directory, or a bucket (s3_bucket)
segment_verification  verifies an archive of segments without the database: segment_tree, segment_findings
printable, timeouts   what several of these modules need
forms                 the forms in which an event is sent
destinations          where events are sent
====================  =============================================================================
"""

from pgaudit.streams.catalog import Stream, add, get_stream, list_streams, note_added, note_removed, remove
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
    "get_stream",
    "list_streams",
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
