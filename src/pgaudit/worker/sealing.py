"""Seals the log beside the jobs, in one worker at a time."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit import __version__, signals
from pgaudit._db_errors import safe_summary
from pgaudit._driver import fetch
from pgaudit._schema.state import SCRIPTS
from pgaudit.errors import InvalidKey, LogDamaged, MissingExtra, RolledBack
from pgaudit.events import AuditEvent
from pgaudit.recording.audit_log import AuditLog
from pgaudit.sealing.completeness import close_periods
from pgaudit.sealing.sealer import note_refusal, seal
from pgaudit.settings import Settings
from pgaudit.worker.connection import connect

if TYPE_CHECKING:
    from pgaudit.sealing.signer import Signer

logger = logging.getLogger("pgaudit.worker")

KINDS: Final = {RolledBack: "rolled_back", LogDamaged: "damaged", InvalidKey: "key", MissingExtra: "key"}
CLAIM: Final = "SELECT pgaudit.claim_heartbeat(make_interval(secs => %(seconds)s))"
LOOK_EVERY_SECONDS: Final = 60.0


async def run_sealing(settings: Settings) -> None:
    """Seals the log once per checkpoint interval, until it is cancelled. What fails is tried again."""
    refused: str | None = None
    while True:
        try:
            await asyncio.to_thread(seal_once, settings)
            refused = None
        except (RolledBack, LogDamaged, InvalidKey, MissingExtra) as error:
            kind = KINDS[type(error)]
            if kind != refused:  # the reason has the size of the log, which grows
                refused = kind
                signals.sealing_refused.send(reason=str(error), kind=kind)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
            logger.warning("cannot seal the log, will retry: %s", safe_summary(error))
        await asyncio.sleep(settings.checkpoint_interval)


async def run_anchoring(settings: Settings) -> None:
    """Sends new checkpoints to the anchors, beside the sealing, until it is cancelled."""
    while settings.anchors:
        try:
            await asyncio.to_thread(anchor_once, settings)
        except Exception as error:  # noqa: BLE001 - as above
            logger.warning("cannot anchor the log, will retry: %s", safe_summary(error))
        await asyncio.sleep(settings.checkpoint_interval)


async def run_completeness(settings: Settings) -> None:
    """Closes days of the index of targets that are over, until it is cancelled. What fails is tried again."""
    while settings.signing_key:
        try:
            await asyncio.to_thread(close_once, settings)
        except Exception as error:  # noqa: BLE001 - as above
            logger.warning("cannot seal the index of targets, will retry: %s", safe_summary(error))
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def close_once(settings: Settings) -> None:
    """Closes the days that are over, on a connection of its own: a large day must not hold up checkpoints."""
    with connect(settings, "pgaudit completeness") as conn:
        for period in close_periods(conn, settings, datetime.now(UTC)):
            logger.info("sealed the index of targets of %s", period)


def seal_once(settings: Settings) -> None:
    """Seals what was appended since the last time, on a connection of its own.

    :raises RolledBack, LogDamaged, InvalidKey, MissingExtra: nothing was signed.
    """
    with connect(settings, "pgaudit seal") as conn:
        try:
            signer = signer_of(settings)
        except (InvalidKey, MissingExtra) as error:
            note_refusal(conn, str(error))
            raise
        if signer and settings.heartbeat_events:
            record_heartbeat(conn, settings)
        seal(conn, signer)


def anchor_once(settings: Settings) -> None:
    """Sends the newest checkpoint to each anchor that does not have it and is due."""
    from pgaudit.sealing.anchoring import anchor  # noqa: PLC0415 - its packages are an extra
    from pgaudit.sealing.anchors import anchors_of  # noqa: PLC0415 - as above

    with connect(settings, "pgaudit anchor") as conn:
        anchor(conn, anchors_of(settings), datetime.now(UTC))


def record_heartbeat(conn: psycopg.Connection[Any], settings: Settings) -> None:
    """Records that the log lives, and which schema it has, if the last time is long enough ago."""
    with conn.transaction():
        if fetch(conn, scalar_row, CLAIM, {"seconds": settings.heartbeat_events}) == [True]:
            data = {"version": __version__, "schema_sha256": SCRIPTS.checksum}
            AuditLog(settings).record(conn, AuditEvent(action="audit.heartbeat", data=data))


def signer_of(settings: Settings) -> "Signer | None":
    """Returns the signer that the settings name; None if they name no key.

    :raises MissingExtra: the package that signs is not installed.
    """
    if settings.signing_key is None:
        return None
    try:
        from pgaudit.sealing.signer import Signer  # noqa: PLC0415 - its package is an extra
    except ModuleNotFoundError as error:
        raise MissingExtra(f'signing needs {error.name}: pip install "pgaudit[sealing]"') from error
    return Signer.of(settings)
