"""Streams send events to other systems after they are in the log. Each stream follows the log by its index.

====================  ====================================================================================
catalog               adds, lists, pauses, rewinds and removes streams
throughput            what streams have sent lately, for charts
urls                  the URLs of destinations, and references to secrets; ``kinds`` has the options
request               what a stream tells its destination when it opens it
runner                a worker's threads, one for each stream that has something to send
stream_thread         one of them: opens the destination, and sends chunk after chunk
throttle              slows streams down while the queue has a backlog
shipping              reads and sends one chunk, and moves the position
replaying             sends a range again, while there is nothing newer to send
failures              schedules the next attempt, or pauses the stream
sending               sends events in order, and finds those that are refused
positions             how far a stream is, in the database
outcomes              what a destination answers
daily_reports         sends the report of a day
daily_counts          counts the events of a day in the database
probing               tests a destination
checkpoints           reads the signed checkpoints that cover what is sent
segments              files of events whose names say what they contain
segment_storage       where segments are: a directory, or a bucket
segment_verification  verifies segments without the database; ``segment_tree`` has the Merkle tree,
                      ``segment_findings`` the result
s3_bucket             objects of S3, which are put once and never overwritten
printable, timeouts   excerpts of others' text; how long to wait for a destination
forms                 the formats in which an event is sent
destinations          where events are sent
====================  ====================================================================================
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
    note_added,
    note_removed,
    parked,
    pause,
    remove,
    replay,
    resume,
    retry,
    rewind,
    stop_replay,
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
