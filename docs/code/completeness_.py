"""Proves that these are all the events of a claim."""

from pathlib import Path

import psycopg

from pgaudit.sealing.completeness import Completeness, check, differences, prove
from pgaudit.sealing.notes import Checkpoint


def write_proof(conn: psycopg.Connection, path: Path) -> None:
    """Writes the proof for claim 7, against the newest checkpoint."""
    path.write_text(str(prove(conn, "claim:7")), encoding="utf-8")


def indexes(path: Path, checkpoint: Checkpoint, events: list[tuple[int, str]]) -> list[int]:
    """Returns the indexes of all events of the target, once the events given are shown to be these.

    :param checkpoint: of a note whose signature was verified
    :param events: index and exact text of each
    """
    verdict = check(Completeness.parse(path.read_text(encoding="utf-8")), checkpoint, events)
    if verdict.found is None:
        raise SystemExit(f"not shown to be complete: {verdict.reason}")
    return verdict.found.indexes


def rebuild(conn: psycopg.Connection) -> list[str]:
    """Returns what differs when every tree is built again from the events of the log."""
    return [found.message for found in differences(conn)]
