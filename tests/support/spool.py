"""Spooling: breaking ``pgaudit.record``, and reading the events that are spooled for it."""

import json
from pathlib import Path
from typing import Any

from pgaudit.recording import spool
from tests.support.queries import Connection


def break_record(owner: Connection) -> None:
    """Renames ``pgaudit.record``, so that recording fails."""
    owner.execute("ALTER FUNCTION pgaudit.record(jsonb) RENAME TO broken_record")


def repair_record(owner: Connection) -> None:
    """Gives ``pgaudit.record`` its name back."""
    owner.execute("ALTER FUNCTION pgaudit.broken_record(jsonb) RENAME TO record")


def spooled_lines(directory: Path) -> list[dict[str, Any]]:
    """Returns the lines in the files of a spool: each has an event and the xid of its transaction."""
    lines = [line for path in spool.files(directory) for line in path.read_text().split("\n") if line]
    return [json.loads(line) for line in lines]
