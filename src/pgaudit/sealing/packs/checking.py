"""Verifies a pack with the code that seals: whatever ``verify.py`` verifies in its own way, and witnesses besides."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pgaudit.errors import InvalidNote, PackAltered, PackUnreadable
from pgaudit.sealing import tree
from pgaudit.sealing.completeness.offline import AllEvents, Incomplete, compare_events
from pgaudit.sealing.notes import Checkpoint, Note, VerifierKey
from pgaudit.sealing.packs.complete import shown_by
from pgaudit.sealing.packs.description import Description
from pgaudit.sealing.packs.layout import ALWAYS, CHECKPOINT, DESCRIPTION, EVENTS, POLICY, expanded
from pgaudit.sealing.packs.leaves import Leaves, leaves_of
from pgaudit.sealing.packs.source import Source
from pgaudit.sealing.policy import Policy


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified: the pack, its checkpoint, the keys that signed it, and the target if complete."""

    about: Description
    checkpoint: Checkpoint
    signed_by: list[VerifierKey]
    complete: AllEvents | None


def check(path: Path, policy: Policy | None = None) -> Verified:
    """Verifies a pack.

    :param policy: whose signatures are needed. Without it, the policy in the pack says so, which proves nothing about
        who signed.
    :raises PackAltered: the pack is not what was signed; the message names the file, and the index if there is one.
    :raises PackUnreadable: it cannot be checked, or has no events.
    :raises InvalidPolicy: the policy in the pack cannot be understood.
    """
    with Source(path) as source:
        about = Description.parse(source.read(DESCRIPTION))
        check_files(source, about)
        own = Policy.parse(source.text(POLICY))
        if [str(key) for key in own.logs] != list(about.vkeys):
            raise PackAltered(f"{DESCRIPTION}: vkeys are not the keys of the log in the file policy")
        if not about.count and not about.is_complete:
            raise PackUnreadable("the pack has no events, so there is nothing to check")
        return check_proved(source, about, policy or own)


def check_files(source: Source, about: Description) -> None:
    """Checks that the pack has the files that it lists, and no others; events.ndjson is read, and hashed, later.

    :raises PackAltered: it has others, or one with another hash.
    """
    names, listed = source.names(), ALWAYS | set(about.files)
    for name in sorted(listed - names):
        raise PackAltered(f"{name!a}: this file is missing")
    for name in sorted(names - listed):
        raise PackAltered(f"{name!a}: this file does not belong to the pack")
    for name in sorted(names - {DESCRIPTION, EVENTS}):
        if source.sha256(name) != about.files.get(name):
            raise PackAltered(f"{name}: its SHA-256 is not the one in {DESCRIPTION}")


def check_proved(source: Source, about: Description, policy: Policy) -> Verified:
    """Checks the signatures, the events against the tree, whether they are all, and the counts.

    :raises PackAltered: one of these is not as the pack says.
    """
    try:
        note = source.text(CHECKPOINT)
        checkpoint = checkpoint_of(note, about)
        signed_by = policy.check(Note.parse(note))
        complete = shown_by(source, about, checkpoint) if about.is_complete else None
        check_events(source, about, leaves_of(about.proofs, source, note, checkpoint), complete)
    except InvalidNote as error:
        raise PackAltered(str(error)) from None
    for name in sorted(set(about.files) - source.used - ALWAYS):
        raise PackAltered(f"{name}: no event of the pack needs this file")
    return Verified(about, checkpoint, signed_by, complete)


def checkpoint_of(note: str, about: Description) -> Checkpoint:
    """Returns the checkpoint of a note.

    :raises PackAltered: it is not of the size that the pack says.
    """
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    if checkpoint.size != about.checkpoint_size:
        raise PackAltered(
            f"{CHECKPOINT}: it is of {checkpoint.size:,} events, and {DESCRIPTION} says {about.checkpoint_size:,}"
        )
    return checkpoint


class Found:
    """What events.ndjson has, as far as it was read."""

    def __init__(self) -> None:
        self.hashed = sha256()
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None


def check_events(source: Source, about: Description, leaves: Leaves, complete: AllEvents | None) -> None:
    """Checks each line of events.ndjson, that there are as many as the pack says, and whether they are all.

    :raises PackAltered: they are not.
    """
    found = Found()
    events = proved_events(source, about, leaves, found)
    if complete:
        try:
            compare_events(complete, events)
        except Incomplete as error:
            raise PackAltered(f"{EVENTS}: {error}") from None
    deque(events, maxlen=0)
    check_found(found, about)


def proved_events(source: Source, about: Description, leaves: Leaves, found: Found) -> Iterator[tuple[int, str]]:
    """Yields index and text of each event, once it is shown to be in the tree.

    :raises PackAltered: one is not in the tree, or is missing.
    """
    indexes = expanded(about.indexes)
    try:
        for line in lines_of(source, found):
            index = next(indexes, None)
            if index is None or index >= about.checkpoint_size:
                raise PackAltered(
                    f"{EVENTS}, line {found.count}: {DESCRIPTION} has no index for it below the checkpoint"
                )
            leaves.check(index, tree.leaf_hash(line))
            found.first = index if found.first is None else found.first
            found.last = index
            yield index, line.decode()
        missing = next(indexes, None)
    except ValueError as error:
        raise PackAltered(f"{DESCRIPTION}: {error}") from None
    if missing is not None:
        raise PackAltered(f"{EVENTS}, index {missing}: this event is missing")


def lines_of(source: Source, found: Found) -> Iterator[bytes]:
    """Yields the events, and counts and hashes their lines."""
    with source.open(EVENTS) as lines:
        for line in lines:
            found.hashed.update(line)
            found.count += 1
            yield line.removesuffix(b"\n")


def check_found(found: Found, about: Description) -> None:
    """Checks the counts, and the density of a pack that was made without a query.

    :raises PackAltered: the pack has other counts, or not all events.
    """
    if found.hashed.hexdigest() != about.files.get(EVENTS):
        raise PackAltered(f"{EVENTS}: its SHA-256 is not the one in {DESCRIPTION}")
    if (found.count, found.first, found.last) != (about.count, about.first_index, about.last_index):
        raise PackAltered(f"{DESCRIPTION}: count, first_index or last_index is not that of the events")
    if not about.query and found.count != about.checkpoint_size:
        raise PackAltered(
            f"{EVENTS}: {found.count:,} events; without a query, a pack has all {about.checkpoint_size:,} signed ones"
        )
