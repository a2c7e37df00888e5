"""The proof that these are all the events of a target, of those whose day is sealed; and its JSON form."""

import json
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit.errors import LogDamaged
from pgaudit.events import Target
from pgaudit.events.event import from_reference
from pgaudit.sealing import stored_tree, tree
from pgaudit.sealing.completeness.offline import (
    VERSION,
    AllEvents,
    Incomplete,
    check_completeness,
    compare_events,
    indexes_digest,
    target_key,
)
from pgaudit.sealing.completeness.stored_periods import Sealed, StoredTree, event_text, sealed_periods
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.tiles import TiledTree

Connection = psycopg.Connection[Any]

NEWEST: Final = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
INDEXES: Final = """
    SELECT index FROM pgaudit.audit_log WHERE target_type = %(type)s AND target_id = %(id)s AND index < %(end)s
    UNION
    SELECT index FROM pgaudit.event_target WHERE type = %(type)s AND id = %(id)s AND index < %(end)s
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Completeness:
    """A proof for one target, against a tree of ``size`` events: the content of ``completeness.json``."""

    target: Target
    size: int
    periods: Sequence[Mapping[str, Any]]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON form."""
        target = {"type": self.target.type, "id": self.target.id}
        return {"completeness_version": VERSION, "target": target, "size": self.size, "periods": list(self.periods)}

    def __str__(self) -> str:
        return json.dumps(self.document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the proof of a file; ``check`` says whether it proves something.

        :raises ValueError: it has another form.
        """
        try:
            found = json.loads(text)
            return cls(Target(**found["target"]), found["size"], found["periods"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a proof of completeness: {error!r}") from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proof shows: all events of a target up to the end of a period; or the reason why it shows nothing."""

    found: AllEvents | None
    reason: str | None = None


def prove(conn: Connection, target: str | Target, size: int | None = None) -> Completeness:
    """Returns the proof for a target, such as "claim:7", from the sealed periods. A reader's rights are enough.

    :param size: of the checkpoint that it is checked against; without, the newest one.
    :raises LogDamaged: what the database has differs from what was sealed.
    """
    about = Target(**from_reference(target, "a Target", "claim:7")) if isinstance(target, str) else target
    newest: list[int] = fetch(conn, scalar_row, NEWEST)
    return proof_of(conn, about, newest[0] if size is None else size)


def proof_of(conn: Connection, about: Target, size: int) -> Completeness:
    """Returns the proof for a target against a tree of that size."""
    periods = sealed_periods(conn, size)
    given: dict[str, object] = {"type": about.type, "id": about.id, "end": periods[-1].end_index if periods else 0}
    indexes: list[int] = fetch(conn, scalar_row, INDEXES, given)
    tiled = stored_tree.tree_of(conn, size)
    return Completeness(
        about, size, [proved(conn, period, about, within(indexes, period), tiled) for period in periods]
    )


def within(indexes: Sequence[int], period: Sealed) -> Sequence[int]:
    """Returns the indexes that are in a period."""
    return indexes[bisect_left(indexes, period.first_index) : bisect_left(indexes, period.end_index)]


def proved(
    conn: Connection, period: Sealed, target: Target, indexes: Sequence[int], tiled: TiledTree
) -> dict[str, Any]:
    """Returns the proof for a period: that of its event, and that the target has these indexes or is absent."""
    text = event_text(conn, period.index)
    if tiled.node(0, period.index) != tree.leaf_hash(text.encode()):
        raise LogDamaged(f"the event of index {period.index} is not the one that was sealed: run `pgaudit verify`")
    part = {"index": period.index, "event": text}
    proof = encoded(tree.inclusion_proof(period.index, tiled.size, tiled.node))
    return {**part, "proof": proof, **placed(StoredTree(conn, period), target, indexes, period)}


def placed(sorted_tree: StoredTree, target: Target, indexes: Sequence[int], period: Sealed) -> dict[str, Any]:
    """Returns the proof that a period has the target with these indexes, or has it not.

    :raises LogDamaged: the period was sealed with other indexes.
    """
    key = target_key(target.type, target.id)
    position = sorted_tree.position(key)
    leaf = sorted_tree.leaf(position) if position < sorted_tree.size else (b"", b"")
    if (leaf == (key, indexes_digest(indexes))) if indexes else leaf[0] != key:
        if indexes:
            return {
                "member": {
                    "position": position,
                    "indexes": list(indexes),
                    "proof": encoded(sorted_tree.proof(position)),
                }
            }
        return {"left": neighbour(sorted_tree, position - 1), "right": neighbour(sorted_tree, position)}
    raise LogDamaged(f"the events of {target} in {period.period} are not those that were sealed: run `pgaudit verify`")


def neighbour(sorted_tree: StoredTree, position: int) -> dict[str, Any] | None:
    """Returns a leaf with its proof; None beyond an end of the tree."""
    if not 0 <= position < sorted_tree.size:
        return None
    key, digest = map(b64, sorted_tree.leaf(position))
    return {"position": position, "key": key, "digest": digest, "proof": encoded(sorted_tree.proof(position))}


def b64(data: bytes) -> str:
    """Returns base64."""
    return b64encode(data).decode()


def encoded(proof: Iterable[bytes]) -> list[str]:
    """Returns the hashes of a proof in base64."""
    return list(map(b64, proof))


def check(
    completeness: Completeness, checkpoint: Checkpoint, events: Iterable[tuple[int, str]] | None = None
) -> Verdict:
    """Returns what a proof shows against a checkpoint whose signature was verified.

    :param events: index and exact text of the events that are said to be all. Without, only their indexes are shown.
    """
    try:
        found = check_completeness(completeness.document, checkpoint.size, checkpoint.root)
        if events is not None:
            compare_events(found, events)
    except Incomplete as error:
        return Verdict(None, str(error))
    return Verdict(found)
