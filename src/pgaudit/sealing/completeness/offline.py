"""Checks a proof of completeness. Needs Python 3.8 or later, and nothing else: it can be used as it is, elsewhere.

``check_completeness`` shows, from ``completeness.json`` and the root that a log has signed, which events below an index
name a target; ``compare_events`` shows that a pack has exactly these. Both raise ``Incomplete`` with the reason.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

VERSION = 1


class Incomplete(ValueError):
    """The proof does not show that these are all the events. The text says why."""


class AllEvents(NamedTuple):
    """All events that name a target, of those with an index below ``end``: up to the end of the period ``until``.

    ``sealed_by`` has the database roles that recorded the periods: no other than that of the worker should be there.
    """

    type: str
    id: str
    indexes: list[int]
    end: int
    until: str
    sealed_by: list[str]

    @property
    def statement(self) -> str:
        """What is shown, in words."""
        these_are = "These are all" if self.indexes else "There are no"
        until = f"up to index {self.end - 1}, sealed until the end of {self.until} (UTC)"
        return f"{these_are} events of {self.type}:{self.id} {until}."

    def reservation(self, count: int) -> str:
        """Returns what is not shown, in words, by a pack of that many events."""
        later = count - len(self.indexes)
        return f"After that, the pack has {later} event{'s' * (later != 1)}. Not shown yet: whether there are more."

    @property
    def origin(self) -> str:
        """Whose word it is, in words."""
        roles = ", ".join(self.sealed_by)
        return f"Sealed in the database by the role {roles}, which should be that of the worker."


class SealedPeriod(NamedTuple):
    """What an event ``audit.targets_sealed`` states of a day or a year."""

    period: str
    first: int
    end: int
    targets: int
    root: bytes
    sealed_by: str


def target_key(kind: str, identity: str) -> bytes:
    """Returns the key of a target. A text with the character 0 could be taken for another target; none is recorded."""
    if "\0" in kind + identity:
        raise Incomplete("no target has a character of code 0 in its type or id")
    return sha256(kind.encode() + b"\0" + identity.encode()).digest()


def indexes_digest(indexes: Sequence[int]) -> bytes:
    """Returns the hash of a list of indexes."""
    return sha256(b"".join(index.to_bytes(8, "big") for index in indexes)).digest()


def target_leaf(key: bytes, digest: bytes) -> bytes:
    """Returns the leaf hash of a target and the indexes of its events."""
    return sha256(b"\0" + key + digest).digest()


def proved_root(leaf: bytes, position: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Returns the root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    if not 0 <= position < size:
        raise Incomplete(f"a tree of {size} leaves has no leaf {position}")
    node, last, hashed = position, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Incomplete("an inclusion proof is too long")
        if node % 2 or node == last:
            hashed = sha256(b"\1" + sibling + hashed).digest()
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = sha256(b"\1" + hashed + sibling).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise Incomplete("an inclusion proof is too short")
    return hashed


def check_completeness(document: dict[str, Any], size: int, root: bytes) -> AllEvents:
    """Checks ``completeness.json`` against the size and root of a signed checkpoint. Returns what it proves.

    :raises Incomplete: it proves nothing; the text says why.
    """
    try:
        check_fits(document, size)
        kind, identity = document["target"]["type"], document["target"]["id"]
        sealed = [sealed_period(part, size, root) for part in document["periods"]]
        indexes = all_indexes(document["periods"], sealed, target_key(kind, identity))
    except Incomplete:
        raise
    except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
        raise Incomplete(f"the proof of completeness has another form: {error!r}") from None
    roles = sorted({period.sealed_by for period in sealed})
    return AllEvents(kind, identity, indexes, sealed[-1].end, sealed[-1].period, roles)


def check_fits(document: dict[str, Any], size: int) -> None:
    """Checks that the proof is of a known version, and for that checkpoint."""
    if document["completeness_version"] != VERSION:
        raise Incomplete(f"this program knows version {VERSION} of the proof of completeness")
    if document["size"] != size:
        raise Incomplete(f"the proof is for a checkpoint of {document['size']} events, not of {size}")


def all_indexes(parts: list[dict[str, Any]], periods: list[SealedPeriod], key: bytes) -> list[int]:
    """Returns the indexes of the target in all periods, which have to follow each other without a gap."""
    if not periods or not periods[-1].end:
        raise Incomplete("no event is sealed yet: the proof has no period with events")
    indexes: list[int] = []
    last: SealedPeriod | None = None
    for part, sealed in zip(parts, periods):
        check_follows(last, sealed)
        indexes += indexes_in(part, sealed, key)
        last = sealed
    return indexes


def sealed_period(part: dict[str, Any], size: int, root: bytes) -> SealedPeriod:
    """Returns what the event of a period states, once the event is shown to be in the signed log."""
    text, index = part["event"], part["index"]
    leaf = sha256(b"\0" + text.encode()).digest()
    if proved_root(leaf, index, size, decoded(part["proof"])) != root:
        raise Incomplete(f"event {index}, which seals a period, is not in the signed log")
    event = json.loads(text)
    if event["action"] != "audit.targets_sealed":
        raise Incomplete(f"event {index} seals no period: it is {event['action']}")
    if event.get("actor"):
        raise Incomplete(f"event {index} seals no period: it has an actor, so that no worker recorded it")
    data, role = event["data"], event["recorded_by"]
    sealed = SealedPeriod(data["period"], data["first"], data["end"], data["targets"], b64decode(data["root"]), role)
    if not 0 <= sealed.first <= sealed.end <= index:
        raise Incomplete(f"{sealed.period}: event {index} seals events that came after it")
    return sealed


def check_follows(before: SealedPeriod | None, sealed: SealedPeriod) -> None:
    """Checks that no event and no day lies between two periods."""
    if sealed.first != (before.end if before else 0):
        raise Incomplete(f"{sealed.period}: it begins at event {sealed.first}; the events before that are not covered")
    if before and first_day(sealed.period) != day_after(before.period):
        raise Incomplete(f"{sealed.period}: days between {before.period} and it are not covered")


def first_day(period: str) -> date:
    """Returns the first day of a day or a year."""
    return date(int(period), 1, 1) if len(period) == 4 else date(*map(int, period.split("-")))


def day_after(period: str) -> date:
    """Returns the day after a day or a year."""
    return date(int(period) + 1, 1, 1) if len(period) == 4 else first_day(period) + timedelta(days=1)


def indexes_in(part: dict[str, Any], sealed: SealedPeriod, key: bytes) -> list[int]:
    """Returns the indexes of the target in a period: those of its leaf, or none if the period has no such leaf."""
    if "member" not in part:
        check_absent(part["left"], part["right"], sealed, key)
        return []
    member = part["member"]
    indexes: list[int] = member["indexes"]
    if not indexes or indexes != sorted(set(indexes)) or not sealed.first <= indexes[0] <= indexes[-1] < sealed.end:
        raise Incomplete(f"{sealed.period}: the indexes do not ascend, or are not those of this period")
    check_leaf(member, sealed, key, indexes_digest(indexes))
    return indexes


def check_absent(left: dict[str, Any] | None, right: dict[str, Any] | None, sealed: SealedPeriod, key: bytes) -> None:
    """Checks that the key would stand between two leaves that are next to each other, or at an end of the tree."""
    if sealed.targets == 0:
        if sealed.root != sha256().digest():
            raise Incomplete(f"{sealed.period}: a tree without leaves has another root")
        return
    if (left["position"] + 1 if left else 0) != (right["position"] if right else sealed.targets):
        raise Incomplete(f"{sealed.period}: between the neighbours there is room for the target")
    for leaf, is_left in ((left, True), (right, False)):
        if leaf is not None:
            other = b64decode(leaf["key"])
            if not (other < key if is_left else key < other):
                raise Incomplete(f"{sealed.period}: the target does not stand between these neighbours")
            check_leaf(leaf, sealed, other, b64decode(leaf["digest"]))


def check_leaf(leaf: dict[str, Any], sealed: SealedPeriod, key: bytes, digest: bytes) -> None:
    """Checks that the tree of a period has this leaf at its position."""
    if len(key) != 32 or len(digest) != 32:
        raise Incomplete(f"{sealed.period}: a key and a digest have 32 bytes each")
    proof = decoded(leaf["proof"])
    if proved_root(target_leaf(key, digest), leaf["position"], sealed.targets, proof) != sealed.root:
        raise Incomplete(f"{sealed.period}: a leaf is not in the sealed tree of targets")


def decoded(proof: list[str]) -> list[bytes]:
    """Returns the hashes of a proof."""
    return [b64decode(encoded) for encoded in proof]


def compare_events(found: AllEvents, events: Iterable[tuple[int, str]]) -> None:
    """Checks that events, by index and exact text, name the target, and that those below ``found.end`` are all found.

    Of events from there on, which no period has sealed yet, any number may be given.

    :raises Incomplete: one of them does not, or one is missing.
    """
    sealed = set(found.indexes)
    missing = set(sealed)
    for index, text in events:
        targets: list[dict[str, Any]] = json.loads(text).get("targets") or []
        if not any((each["type"], each["id"]) == (found.type, found.id) for each in targets):
            raise Incomplete(f"event {index} does not name the target")
        if index < found.end and index not in sealed:
            raise Incomplete(f"event {index} is not among the sealed ones")
        missing.discard(index)
    if missing:
        raise Incomplete(f"event {min(missing)} is missing" + f", and {len(missing) - 1} more" * (len(missing) > 1))
