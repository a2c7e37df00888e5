"""Deduplication: which events of a chunk a directory or bucket does not have yet. Nothing there is replaced."""

from collections.abc import Mapping, Sequence

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.streams.request import Request
from pgaudit.trail.entry import Entry


def missing(entries: Sequence[Entry], held: Mapping[int, str], place: str, request: Request) -> list[Entry]:
    """Returns the events that are not stored yet.

    :param held: the leaf hash of each stored event between the first and the last of these.
    :param place: where they are stored, for the error.
    :param request: whether the stream continues where it was; after it was added or rewound, events with other hashes
        are stored beside those that are there.
    :raises DestinationRefused: a continued stream finds an event with another hash.
    """
    sent = {entry.index: entry.leaf_hash.hex() for entry in entries}
    others = sorted(index for index, leaf_hash in held.items() if sent.get(index) != leaf_hash)
    if request.continued and others:
        raise DestinationRefused(
            f"{place} has another event with the index {others[0]} than the log: was the database restored from an "
            f"older backup? Nothing was overwritten. {go_on_beside(request.stream, entries[0].index)}"
        )
    return [entry for entry in entries if held.get(entry.index) != entry.leaf_hash.hex()]


def go_on_beside(stream: str, index: int) -> str:
    """Returns what to do when a destination has other events than the log from that index on."""
    return f"To go on beside them: pgaudit stream rewind {stream} {index}, then pgaudit stream resume {stream}"
