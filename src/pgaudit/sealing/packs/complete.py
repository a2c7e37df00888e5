"""A complete pack: it shows that its events are all those of one target, up to the end of a sealed day."""

import json
from dataclasses import dataclass
from typing import Any

import psycopg

from pgaudit.errors import ExportRefused, LogDamaged, PackAltered
from pgaudit.events import Target
from pgaudit.sealing.completeness import Completeness, check, prove
from pgaudit.sealing.completeness.offline import AllEvents, check_completeness
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.packs.description import Description
from pgaudit.sealing.packs.layout import COMPLETENESS, DESCRIPTION
from pgaudit.sealing.packs.source import Source
from pgaudit.trail import Term, parse


@dataclass(frozen=True, slots=True)
class Complete:
    """The proof that is in a pack, and what it shows."""

    proof: Completeness
    shown: AllEvents


def prove_complete(conn: psycopg.Connection[Any], target: Target, checkpoint: Checkpoint) -> Complete:
    """Returns the proof for a target.

    :raises ExportRefused: no day is sealed yet.
    :raises LogDamaged: what the database has differs from what was sealed.
    """
    proof = prove(conn, target, checkpoint.size)
    if not proof.periods:
        raise ExportRefused(
            "no day of this log is sealed yet, so nothing is complete: the worker seals a day after its midnight (UTC)"
        )
    verdict = check(proof, checkpoint)
    if verdict.found is None:
        raise LogDamaged(f"the sealed index of targets proves nothing: {verdict.reason}: run `pgaudit verify`")
    return Complete(proof, verdict.found)


def asked_target(query: str) -> Target:
    """Returns the target of a query.

    :raises ExportRefused: the query is another one than for the events of one target.
    """
    target = target_of(query)
    if target is None:
        raise ExportRefused(
            "--complete shows that these are all events of one thing: the query has to be target:TYPE:ID, such as "
            f"target:claim:7, and nothing else, in place of {query!r}"
        )
    return target


def target_of(query: str) -> Target | None:
    """Returns the target of a query; None if it is not exactly ``target:TYPE:ID``."""
    match parse(query).terms:
        case (Term(field="target", values=(value,), negated=False),):
            kind, _, identity = value.partition(":")
            return None if identity == "*" else Target(type=kind, id=identity)
        case _:
            return None


def shown_by(source: Source, about: Description, checkpoint: Checkpoint) -> AllEvents:
    """Returns what the proof in a pack shows.

    :raises PackAltered: nothing, or it is about another target than the query of the pack.
    """
    try:
        shown = check_completeness(json.loads(source.read(COMPLETENESS)), checkpoint.size, checkpoint.root)
        target = target_of(about.query)
    except (ValueError, RecursionError) as error:
        raise PackAltered(f"{COMPLETENESS}: {error}") from None
    if target is None or (target.type, target.id) != (shown.type, shown.id):
        raise PackAltered(f"{COMPLETENESS}: it is for another target than the query in {DESCRIPTION}")
    return shown
