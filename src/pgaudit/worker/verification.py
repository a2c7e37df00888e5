"""Verifies the log in a worker: often only what was appended since the last time, and less often all of it."""

import asyncio
import logging
import time
from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from pgaudit import signals
from pgaudit._db_errors import safe_summary
from pgaudit._driver import fetch
from pgaudit.errors import AnchorFailed
from pgaudit.sealing.stored_tree import beginning_of_log
from pgaudit.sealing.tiles import WIDTH
from pgaudit.settings import Settings
from pgaudit.worker.connection import connect
from pgaudit.worker.sealing import LOOK_EVERY_SECONDS

if TYPE_CHECKING:  # their packages are an extra
    from pgaudit.sealing.anchors.anchor import Anchor
    from pgaudit.sealing.notes import Note
    from pgaudit.sealing.verify import Finding, Verification

logger = logging.getLogger("pgaudit.worker")

CLAIM: Final = "SELECT pgaudit.claim_verification(make_interval(secs => %(seconds)s))"
IS_WHOLE_DUE: Final = """
    SELECT NOT EXISTS (SELECT FROM pgaudit.sealing_stats
                        WHERE fully_verified_at > clock_timestamp() - make_interval(secs => %(seconds)s)
                          -- A log of which nothing was signed then: with a key, it now reaches a higher level.
                          AND NOT (%(has_key)s AND coalesce(checkpoint_size, 0) > 0 AND level IN ('hashed', 'sealed')))
"""
NOTE: Final = "SELECT pgaudit.note_verification(%(first)s, %(end)s, %(whole)s, %(level)s, %(count)s, %(found)s)"
MOST_NOTED: Final = 20  # findings
LONGEST_MESSAGE: Final = 500  # characters


async def run_verification(settings: Settings) -> None:
    """Verifies the log once per interval, until it is cancelled."""
    stopped = Event()
    try:
        while settings.signing_key and settings.verify_interval:
            try:
                await asyncio.to_thread(verify_once, settings, stopped)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
                logger.warning("cannot verify the log, will retry: %s", safe_summary(error))
            await asyncio.sleep(min(LOOK_EVERY_SECONDS, settings.verify_interval))
    finally:
        stopped.set()


def verify_once(settings: Settings, stopped: Event | None = None) -> None:
    """Verifies the log, if that is due and no other worker does it. A worker that stops does not end it.

    :param stopped: is set when the worker stops.
    """
    with connect(settings, "pgaudit verify") as conn:
        if fetch(conn, scalar_row, CLAIM, {"seconds": settings.verify_interval}) != [True]:
            return
        first, whole = due(conn, settings)
        turn = Turn(conn, settings.verify_interval, stopped or Event())
        try:
            result = verified(conn, settings, first, turn, whole=whole)
        except Stopped:
            return
        note(conn, result, whole=whole)
        if result.findings:
            found = result.findings[0]
            signals.verification_failed.send(count=result.count, finding=found.name, reason=found.message)


class Stopped(Exception):
    """The worker stops."""


class Turn:
    """The turn of this worker to verify. A log of a billion events takes hours, in which no other worker begins."""

    def __init__(self, conn: psycopg.Connection[Any], interval: float, stopped: Event) -> None:
        self._conn, self._stopped = conn, stopped
        self._every = min(LOOK_EVERY_SECONDS, interval / 4)
        self._claimed = time.monotonic()

    def keep(self, _done: int, _of: int) -> None:
        """Claims the turn again, from time to time.

        :raises Stopped: the worker stops.
        """
        if self._stopped.is_set():
            raise Stopped
        if time.monotonic() - self._claimed > self._every:
            self._claimed = time.monotonic()
            fetch(self._conn, scalar_row, CLAIM, {"seconds": 0})


def due(conn: psycopg.Connection[Any], settings: Settings) -> tuple[int, bool]:
    """Returns where to begin, and whether that is all that the log has."""
    from pgaudit.sealing.keys import verifier_keys  # noqa: PLC0415 - its packages are an extra
    from pgaudit.sealing.verify import since_last  # noqa: PLC0415 - as above

    beginning = -(-beginning_of_log(conn) // WIDTH) * WIDTH
    seconds = settings.full_verify_interval
    given: dict[str, object] = {"seconds": seconds, "has_key": bool(verifier_keys(settings))}
    if seconds and fetch(conn, scalar_row, IS_WHOLE_DUE, given) == [True]:
        return beginning, True
    first = since_last(conn)
    return max(first, beginning), first <= beginning


def verified(
    conn: psycopg.Connection[Any], settings: Settings, first: int, turn: Turn, *, whole: bool
) -> "Verification":
    """Returns the result of verifying the log from an index on. All of it is compared with the anchors, too."""
    from pgaudit.sealing.anchors import anchors_of  # noqa: PLC0415 - its packages are an extra
    from pgaudit.sealing.keys import verifier_keys  # noqa: PLC0415 - as above
    from pgaudit.sealing.verify import verify  # noqa: PLC0415 - as above

    anchors = {each.name: readable(conn, each) for each in anchors_of(settings)} if whole else {}
    return verify(conn, keys=verifier_keys(settings), anchors=anchors, first=first, progress=turn.keep)


def readable(conn: psycopg.Connection[Any], anchor: "Anchor") -> Iterator["Note"]:
    """Yields the checkpoints of an anchor. One that cannot be read proves nothing: the level says so."""
    from pgaudit.sealing.anchoring import kept  # noqa: PLC0415 - its packages are an extra

    try:
        yield from kept(conn, anchor)
    except AnchorFailed as error:
        logger.warning("cannot compare the log with an anchor: %s", error)


def note(conn: psycopg.Connection[Any], result: "Verification", *, whole: bool) -> None:
    """Notes a result in the database."""
    level = None if result.count else result.level.name.lower()
    found = Jsonb([described(finding) for finding in result.findings[:MOST_NOTED]])
    given: dict[str, object] = {"first": result.first, "end": result.end, "whole": whole, "level": level}
    fetch(conn, scalar_row, NOTE, given | {"count": result.count, "found": found})


def described(finding: "Finding") -> dict[str, object]:
    """Returns a finding as JSON, with at most 500 characters of its message."""
    return {
        "name": finding.name,
        "message": finding.message[:LONGEST_MESSAGE],
        "index": finding.index,
        "event_id": None if finding.event_id is None else str(finding.event_id),
    }
