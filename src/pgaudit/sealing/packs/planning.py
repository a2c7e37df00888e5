"""What a pack will have: the events that a query finds below the newest signed checkpoint."""

from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit.errors import ExportRefused, LogDamaged, PackAltered
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.packs.complete import Complete, asked_target, prove_complete
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.sealer import FAILED
from pgaudit.sealing.stored_tree import signed_tree
from pgaudit.sealing.tiles import TiledTree
from pgaudit.trail.export import Plan, plan, portion

NEWEST: Final = "SELECT note FROM pgaudit.checkpoint ORDER BY size DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class PackPlan:
    """A pack: an export up to the checkpoint ``note``, the tree that it signs, and the text of the policy.

    ``left_out`` events were found that are not sealed yet. ``complete`` shows that the sealed ones are all.
    """

    export: Plan
    kind: Kind
    note: Note
    tiled: TiledTree
    policy: str
    left_out: int
    complete: Complete | None = None


def plan_pack(
    conn: psycopg.Connection[Any], query: str, policy: str, kind: Kind = "proofs", *, complete: bool = False
) -> PackPlan:
    """Returns the plan of a pack.

    :param policy: the text of the policy, which the checkpoint has to meet.
    :param complete: whether the pack has to show that its events are all those of the target of the query.
    :raises ExportRefused: nothing is signed yet, or not by the keys of the policy; or nothing shows that they are all.
    :raises InvalidPolicy: the policy cannot be understood.
    :raises InvalidQuery: the query cannot be understood.
    :raises LogDamaged: the tree in the database is not the one that was signed, or the last verification has failed.
    """
    about = asked_target(query) if complete else None
    for finding in fetch(conn, scalar_row, FAILED):
        raise LogDamaged(f"the last verification of the log has failed, so nothing is proved: {finding}")
    found = plan(conn, query)
    note = newest_checkpoint(conn, Policy.parse(policy))
    checkpoint = Checkpoint.parse(note.text)
    tiled = signed_tree(conn, note)
    proof = prove_complete(conn, about, checkpoint) if about else None
    export, left_out = replace(found, size=checkpoint.size), unsealed(conn, found, checkpoint.size)
    return PackPlan(export, kind, note, tiled, policy, left_out, proof)


def newest_checkpoint(conn: psycopg.Connection[Any], policy: Policy) -> Note:
    """Returns the newest signed checkpoint.

    :raises ExportRefused: there is none, or the policy asks for other signatures.
    """
    notes: list[str] = fetch(conn, scalar_row, NEWEST)
    if not notes:
        raise ExportRefused(
            "there is no signed checkpoint, so nothing can be proved: make a key with `pgaudit keys new`, and start "
            "the worker with it in PGAUDIT_SIGNING_KEY"
        )
    note = Note.parse(notes[0])
    try:
        policy.check(note)
    except PackAltered as error:
        raise ExportRefused(f"the newest checkpoint does not meet the policy: {error}") from None
    return note


def unsealed(conn: psycopg.Connection[Any], found: Plan, position: int) -> int:
    """Returns how many events the query finds from an index on."""
    count = 0
    while position < found.size:
        part = portion(conn, found, position)
        count, position = count + len(part.rows), part.position
    return count
