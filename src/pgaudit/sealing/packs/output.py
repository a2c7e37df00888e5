"""Writes a pack while an export reads the log: one of the outputs that ``trail.export.copying`` knows."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from pgaudit.errors import ExportRefused
from pgaudit.sealing import tree
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.packs.description import Description
from pgaudit.sealing.packs.evidence import evidence_of
from pgaudit.sealing.packs.layout import (
    CHECKPOINT,
    COMPLETENESS,
    DESCRIPTION,
    EVENTS,
    POLICY,
    PROGRAM,
    README,
    Indexes,
)
from pgaudit.sealing.packs.planning import PackPlan
from pgaudit.sealing.packs.readme import readme_of
from pgaudit.sealing.packs.staging import Staging
from pgaudit.sealing.policy import Policy
from pgaudit.trail.export import Portion, Row, Stream

MOST_PROOFS: Final = 10_000  # files in one directory, of about 1 kB


class PackOutput:
    """An unfinished pack. ``stream`` says which events it has.

    :param replace: an unfinished pack, and a zip file, may be replaced.
    :raises ExportRefused: something is in the way.
    """

    def __init__(self, path: Path, plan: PackPlan, *, replace: bool = False) -> None:
        self.stream = Stream(plan.export)
        self._plan = plan
        self._indexes = Indexes()
        self._staging = Staging(path, replace=replace)
        self._evidence = evidence_of(plan.kind, plan.tiled, plan.note, self._staging)
        self._events = self._staging.open(EVENTS)

    def write(self, portion: Portion[Row]) -> None:
        """Writes a portion of events, with what proves them.

        :raises ExportRefused: there are too many for a proof of each.
        :raises LogDamaged: an event is not the one that was sealed.
        """
        self._events.write(self.stream.encode(portion))
        if self._plan.kind == "proofs" and self.stream.count > MOST_PROOFS:
            raise ExportRefused(f"more than {MOST_PROOFS:,} events, each with a proof of its own: use --tiles")
        for row in portion.rows:
            self._evidence.add(row.index, tree.leaf_hash(row.text.encode()))
            self._indexes.add(row.index)

    def complete(self) -> None:
        """Writes the other files."""
        self._events.close()
        self._staging.hashes[EVENTS] = self.stream.sha256
        self._evidence.end()
        plan, complete = self._plan, self._plan.complete
        self._staging.write(CHECKPOINT, str(plan.note).encode())
        self._staging.write(POLICY, plan.policy.encode())
        self._staging.write(PROGRAM, program())
        if complete:
            self._staging.write(COMPLETENESS, str(complete.proof).encode())
        origin = Checkpoint.parse(plan.note.text).origin
        readme = readme_of(self._description(), origin, complete.shown if complete else None)
        self._staging.write(README, readme.encode())
        self._staging.write(DESCRIPTION, self._description().to_bytes())

    def publish(self, *, recorded: bool) -> Path:  # noqa: ARG002 - of every output; the same pack whether or not
        """Gives the pack its name. Returns its path."""
        return self._staging.publish()

    def close(self) -> None:
        """Removes what is left of an unfinished pack."""
        self._events.close()
        self._staging.remove()

    def _description(self) -> Description:
        """Returns what the pack has now."""
        return Description(
            pgaudit=self._plan.export.version,
            query=str(self._plan.export.query),
            proofs=self._plan.kind,
            checkpoint_size=self._plan.export.size,
            count=self.stream.count,
            first_index=self.stream.first_index,
            last_index=self.stream.last_index,
            indexes=str(self._indexes),
            vkeys=[str(key) for key in Policy.parse(self._plan.policy).logs],
            files=dict(sorted(self._staging.hashes.items())),
        )


def program() -> bytes:
    """Returns the program that each pack has."""
    return files("pgaudit.sealing.packs").joinpath(PROGRAM).read_bytes()
