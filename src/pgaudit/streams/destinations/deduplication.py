"""What an archive has already of the events that it is sent: they are there once, and no other one is replaced."""

from collections.abc import Mapping, Sequence

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.trail.entry import Entry


def missing(entries: Sequence[Entry], held: Mapping[int, str], place: str, *, continued: bool) -> list[Entry]:
    """Returns the events that the archive lacks.

    :param held: the leaf hash of each event that it has between the first and the last of them.
    :param continued: whether the stream goes on; one that was just added or set back is sent beside what is there.
    :raises DestinationRefused: it has others in their place.
    """
    sent = {entry.index: entry.leaf_hash.hex() for entry in entries}
    others = sorted(index for index, leaf_hash in held.items() if sent.get(index) != leaf_hash)
    if continued and others:
        raise DestinationRefused(
            f"{place} has another event with the index {others[0]} than the log: was the database restored from an "
            "older backup? Nothing was overwritten. To go on beside it, set the stream back with pgaudit stream rewind"
        )
    return [entry for entry in entries if held.get(entry.index) != entry.leaf_hash.hex()]
