"""The proof that an event is in the signed log, for a viewer from whom nothing in it is hidden."""

from hashlib import sha256
from http import HTTPStatus
from typing import Final
from uuid import UUID

from psycopg.rows import scalar_row
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pgaudit import trail
from pgaudit._driver import fetch
from pgaudit.errors import InvalidNote, LogDamaged
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.packs.evidence import proof_of
from pgaudit.sealing.packs.planning import NEWEST
from pgaudit.sealing.sealer import FAILED
from pgaudit.sealing.stored_tree import signed_tree
from pgaudit.sealing.tiles import WIDTH
from pgaudit.sealing.tree import LEAF
from pgaudit.trail import Entry
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import masked
from pgaudit.web.problems import NEVER_CACHED
from pgaudit.web.views import Connection

MEDIA_TYPE: Final = "text/plain; charset=utf-8"
NO_EVENT: Final = "There is no such event that you may see."
NOT_SEALED: Final = "No checkpoint covers event {index} yet."
IN_PART: Final = (
    "A proof has hashes of other events, and you may see a part of the trail: ask for access to all tenants."
)
MASKED: Final = (
    "A proof has hashes of other events, which confirm a guess: values of some of these are hidden from you."
)
FAULTY: Final = "Nothing is proved, because the log does not verify: {fault}."


def prove(conn: Connection, viewer: Viewer, key: int | UUID) -> tuple[Entry, str]:
    """Returns an event and its proof, in the form of C2SP ``tlog-proof``: the same bytes as in a pack.

    :raises HTTPException: 403, the viewer sees a part of the trail, or masked values; 404, there is no such event, or
        it is not sealed yet; 409, the log does not verify.
    """
    entry = trail.find(conn, key, viewer.scope_query)
    if entry is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, NO_EVENT)
    if not viewer.sees_everything:
        raise HTTPException(HTTPStatus.FORBIDDEN, IN_PART)
    for found in fetch(conn, scalar_row, FAILED):
        raise HTTPException(HTTPStatus.CONFLICT, FAULTY.format(fault=found))
    try:
        proof = proof_in(conn, viewer, entry)
    except (InvalidNote, LogDamaged) as error:
        raise HTTPException(HTTPStatus.CONFLICT, FAULTY.format(fault=error)) from None
    if proof is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, NOT_SEALED.format(index=entry.index))
    return entry, proof


def proof_in(conn: Connection, viewer: Viewer, entry: Entry) -> str | None:
    """Returns the proof that an event is in the newest checkpoint; None if that does not cover it.

    :raises HTTPException: 403, values of events whose hashes would be in the proof are masked.
    :raises InvalidNote: what is stored is no checkpoint.
    :raises LogDamaged: the event, or the tree, is not the one that was sealed.
    """
    for text in fetch(conn, scalar_row, NEWEST):
        note = Note.parse(text)
        size = Checkpoint.parse(note.text).size
        if size > entry.index:
            refuse_masked(conn, viewer, entry.index, size)
            leaf = sha256(LEAF + entry.text.encode()).digest()
            return str(proof_of(entry.index, leaf, size, signed_tree(conn, note).node, note))
    return None


def refuse_masked(conn: Connection, viewer: Viewer, index: int, size: int) -> None:
    """Returns if the viewer sees every value of the events in the tile of this one, and in the last, incomplete tile.

    A proof has hashes of single events, pairs and small groups from these two; from others, of 256 events or more.

    :raises HTTPException: 403, values are masked.
    """
    if viewer.access.mask is unmasked:
        return
    for first in {index // WIDTH * WIDTH, size // WIDTH * WIDTH}:
        beside = trail.after(conn, first - 1, min(WIDTH, size - first)) if first < size else []
        if any(masked(viewer, entry).is_masked for entry in beside):
            raise HTTPException(HTTPStatus.FORBIDDEN, MASKED)


def file_of(index: int, proof: str) -> Response:
    """Returns a proof as a file."""
    headers = {**NEVER_CACHED, "Content-Disposition": f'attachment; filename="{index}.tlog-proof"'}
    return Response(proof, headers=headers, media_type=MEDIA_TYPE)
