"""Copies the events of an export from the log to where it goes, and records that it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from pgaudit._db_errors import safe_summary
from pgaudit._reading import Statement, Steps, run
from pgaudit.errors import ExportRefused
from pgaudit.events import AuditEvent
from pgaudit.trail.export.access import exported
from pgaudit.trail.export.plans import size_of_log
from pgaudit.trail.export.portions import Portion, portion
from pgaudit.trail.export.rows import Row
from pgaudit.trail.export.stream import Stream

HASH: Final = "SELECT leaf_hash FROM pgaudit.audit_log WHERE index = %(index)s"


class Output(Protocol):
    """Where an export goes."""

    stream: Stream

    def write(self, portion: Portion[Row]) -> None:
        """Writes a portion of events."""
        ...

    def complete(self) -> None:
        """Writes the end; everything is there."""
        ...

    def publish(self, *, recorded: bool) -> Path | None:
        """Gives it its name. Returns its path, if it has one."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


def copy(
    conn: object,
    output: Output,
    record: Callable[[AuditEvent], object] | None,
    report: Callable[[Stream], object],
    **said: Any,
) -> Path | None:
    """Copies the events of an export, and records its end, or that it broke off. Returns the path of the file.

    A finished file gets its name after its event was recorded: there is none without.

    :param record: records an event; None where that is impossible.
    :param report: is called after each portion.
    :param said: who exports, and more for the event: arguments of ``exported``.
    """
    try:
        while not output.stream.is_finished:
            output.write(portion(conn, output.stream.plan, output.stream.position))
            report(output.stream)
        output.complete()
        if record:
            record(exported(output.stream, **said))
        return output.publish(recorded=record is not None)
    except BaseException as error:
        if record:
            record_failure(record, output.stream, error, said)
        raise


def record_failure(
    record: Callable[[AuditEvent], object], stream: Stream, error: BaseException, said: dict[str, Any]
) -> None:
    """Records that an export broke off; notes it on the error if that fails, too."""
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else safe_summary(error)
    try:
        record(exported(stream, reason=reason, **said))
    except Exception as failure:  # noqa: BLE001 - the first error is the one to be raised
        error.add_note(f"that the export broke off could not be recorded: {safe_summary(failure)}")


def check_continues(conn: object, stream: Stream) -> None:
    """Checks that this is the log from which an interrupted export was made.

    :raises ExportRefused: it is another one.
    """
    hashes = run(conn, hashes_at(stream.last_index))
    if run(conn, size_of_log()) < stream.plan.size or hashes != (
        [] if stream.last_hash is None else [stream.last_hash]
    ):
        raise ExportRefused(
            "this log does not have the last event of the interrupted export: connect to the database of that one, or "
            "begin again with --force"
        )


def hashes_at(index: int | None) -> Steps[list[bytes]]:
    """Reads the leaf hash of the event at an index."""
    return [bytes(row[0]) for row in (yield Statement(HASH, {"index": index}))]
