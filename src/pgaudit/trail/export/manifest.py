"""The manifest of an exported file: what it has, and how to check it."""

from datetime import UTC, datetime
from typing import Any, Final

from pgaudit.trail.export import columns
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.stream import Stream

LINES: Final = "one event in each line, as stored; SHA-256 of the byte 0x00 and the line is its leaf hash"
MASKED_LINES: Final = "one event in each line, masked; no leaf hash covers it"


def manifest_of(stream: Stream, file: str, *, recorded: bool) -> dict[str, Any]:
    """Returns what to say of a finished file.

    :param recorded: whether the export is an event in the log.
    """
    return {
        "manifest_version": 1,
        "file": file,
        **stream.plan.to_json(),
        "first_index": stream.first_index,
        "last_index": stream.last_index,
        "count": stream.count,
        "bytes": stream.bytes,
        "sha256": stream.sha256,
        "finished_at": datetime.now(UTC).isoformat(),
        "recorded": recorded,
        "schema": schema_of(stream.plan),
    }


def schema_of(plan: Plan) -> Any:
    """Returns what a line is, or the names of the columns and, of Parquet, their types."""
    match plan.format:
        case "ndjson":
            return MASKED_LINES if plan.masked else LINES
        case "csv":
            return [*columns.NAMES, *plan.columns]
        case "parquet":
            from pgaudit.trail.export import parquet  # noqa: PLC0415 - its package is an extra

            return {name.name: str(name.type) for name in parquet.schema_of(plan.columns)}
