"""Checks that the schema is the one that this version needs, without changes made by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from pgaudit._schema import fingerprint
from pgaudit._schema.owner import POWERS, Owner
from pgaudit._schema.state import SCRIPTS, STATE, Standing, State, standing
from pgaudit.health.status import Check, Status

SHOWN: Final = 3  # differences in one message
ADVICE: Final = {
    Standing.CURRENT: "The schema is current.",
    Standing.AHEAD: "The schema is newer than this code, which may run on it.",
    Standing.BEHIND: "The schema is too old for this version: run `pgaudit migrate`.",
    Standing.MISSING: "The schema is not installed: run `pgaudit migrate`.",
}


@dataclass(frozen=True, slots=True)
class SchemaObservation:
    """What the database says of its schema."""

    state: State | None
    owner: Owner | None
    objects: list[fingerprint.Row]


def observe(conn: psycopg.Connection[Any]) -> SchemaObservation:
    """Looks at the schema through that connection."""
    state = psycopg.Cursor(conn, row_factory=class_row(State)).execute(STATE).fetchone()
    owner = psycopg.Cursor(conn, row_factory=class_row(Owner)).execute(POWERS).fetchone()
    return SchemaObservation(state, owner, fingerprint.read(conn))


async def observe_async(conn: psycopg.AsyncConnection[Any]) -> SchemaObservation:
    """``observe`` for asynchronous connections."""
    state = await (await psycopg.AsyncCursor(conn, row_factory=class_row(State)).execute(STATE)).fetchone()
    owner = await (await psycopg.AsyncCursor(conn, row_factory=class_row(Owner)).execute(POWERS)).fetchone()
    return SchemaObservation(state, owner, await fingerprint.read_async(conn))


def schema_verdicts(seen: SchemaObservation) -> Iterator[Check]:
    """Yields a verdict on version, changes by hand, and owner."""
    verdict = standing(seen.state)
    bad = verdict in {Standing.MISSING, Standing.BEHIND}
    status = Status.UNHEALTHY if bad else Status.HEALTHY
    yield Check("schema_version", status, str(seen.state), str(SCRIPTS.state), ADVICE[verdict])
    yield unchanged(fingerprint.differences_in(seen.objects) if verdict is Standing.CURRENT else None)
    yield owned(seen.owner)


def unchanged(differences: list[str] | None) -> Check:
    """Returns a verdict on the differences; None when there is nothing to compare the schema with."""
    if differences is None:
        return Check(
            "schema_unchanged", Status.HEALTHY, None, 0, "Not compared: the schema is not that of this version."
        )
    if not differences:
        return Check("schema_unchanged", Status.HEALTHY, 0, 0, "The schema has no changes made by hand.")
    more = f" … and {len(differences) - SHOWN} more: see `pgaudit migrate --check`" if len(differences) > SHOWN else ""
    message = f"The schema was changed by hand: {'; '.join(differences[:SHOWN])}{more}."
    return Check("schema_unchanged", Status.DEGRADED, len(differences), 0, message)


def owned(owner: Owner | None) -> Check:
    """Returns a sentence about the owner. Healthy in any case: small installations have one role for everything."""
    message = (owner.warning if owner else None) or "The owner of the schema is a plain role."
    return Check("schema_owner", Status.HEALTHY, owner.role if owner else None, None, message)
