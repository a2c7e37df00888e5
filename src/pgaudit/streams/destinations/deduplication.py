"""Deduplication: which events of a chunk a directory or bucket does not have yet. Nothing there is replaced."""

from collections.abc import Mapping, Sequence

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.trail.entry import Entry


def missing(entries: Sequence[Entry], held: Mapping[int, str], place: str, *, continued: bool) -> list[Entry]:
    """Returns the events that are not stored yet.

    :param held: the leaf hash of each stored event between the first and the last of these.
    :param place: where they are stored, for the error.
    :param continued: whether the stream continues where it was; after it was added or rewound, events with other hashes
        are stored beside those that are there.
    :raises DestinationRefused: a continued stream finds an event with another hash.
    """
    sent = {entry.index: entry.leaf_hash.hex() for entry in entries}
    others = sorted(index for index, leaf_hash in held.items() if sent.get(index) != leaf_hash)
    if continued and others:
        raise DestinationRefused(
            f"{place} has another event with the index {others[0]} than the log: was the database restored from an "
            "older backup? Nothing was overwritten. To write beside it, move the stream back with pgaudit stream rewind"
        )
    return [entry for entry in entries if held.get(entry.index) != entry.leaf_hash.hex()]
