"""A stream to a directory, and what is there."""

import gzip
import json
from pathlib import Path

import psycopg

from pgaudit import streams


def add(
    conn: psycopg.Connection, directory: Path, options: str = "", name: str = "archive", *, ordered: bool = False
) -> None:
    """Adds a stream to a directory, from the beginning of the log."""
    streams.add(conn, name, to=f"file:{directory}{options}", start=0, ordered=ordered)


def indexes(directory: Path) -> list[int]:
    """Returns the indexes in the files, compressed ones too, in the order of their names."""
    found: list[int] = []
    for path in sorted(directory.glob("*.ndjson*")):
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        found += [json.loads(line)["index"] for line in text.splitlines()]
    return found


def error_of(conn: psycopg.Connection, name: str = "archive") -> str:
    """Returns why a stream is paused or failing."""
    stream = streams.catalog.get_stream(conn, name)
    return f"{stream.state}: {stream.pause_reason or stream.error}"
