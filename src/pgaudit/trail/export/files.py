"""An export into a file: it can be continued until it is finished, and is there as a whole or not at all."""

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

import pgaudit
from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.errors import ExportRefused
from pgaudit.trail.export.checkpoint import Checkpoint, private, replace_durably
from pgaudit.trail.export.manifest import manifest_of
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.portions import Portion
from pgaudit.trail.export.rows import Row
from pgaudit.trail.export.staging import StagingEncoder, staged
from pgaudit.trail.export.stream import Stream, encoder_of
from pgaudit.trail.export.target import Target, manifest_beside

CHECKPOINT_EVERY: Final = 1.0  # seconds: so much work an interruption costs
PIECE: Final = 2**20


class FileOutput:
    """The unfinished file of an export. ``stream`` says what it has."""

    def __init__(self, target: Target, stream: Stream, file: BinaryIO) -> None:
        self.stream = stream
        self._target = target
        self._file = file
        self._saved_at = time.monotonic()

    @classmethod
    def create(cls, target: Target, plan: Plan) -> Self:
        """Begins a file.

        :raises ExportRefused: another process writes it.
        """
        stream = new_stream(plan)
        output = cls(target, stream, locked(target.partial, "a+b"))
        output._file.truncate(0)
        output._file.write(stream.begin())
        output._save()
        return output

    @classmethod
    def reopen(cls, target: Target) -> Self:
        """Continues an interrupted file, behind what is known to be complete.

        :raises ExportRefused: there is none, another process writes it, or another version of pgaudit has begun it.
        """
        if not target.is_interrupted:
            raise ExportRefused(f"there is no {target.partial} to continue: leave out --resume")
        saved = Checkpoint.load(target.checkpoint)
        if saved.plan["pgaudit"] != pgaudit.__version__:
            raise ExportRefused(
                f"{target.partial} was begun by pgaudit {saved.plan['pgaudit']}: continue it with that version, or "
                "begin again with --force"
            )
        stream = new_stream(saved.parsed_plan())
        output = cls(target, stream, locked(target.partial, "r+b"))
        try:
            read_again(output._file, saved.bytes, stream)
        except ExportRefused:
            output.close()
            raise
        saved.restore(stream)
        return output

    def write(self, portion: Portion[Row]) -> None:
        """Writes a portion of events."""
        self._file.write(self.stream.encode(portion))
        if time.monotonic() - self._saved_at >= CHECKPOINT_EVERY:
            self._save()

    def complete(self) -> None:
        """Writes the end of the file, and converts it into a format that could not be continued before.

        :raises ExportRefused: the finished file would replace another one.
        """
        self._save()
        self._target.check_finished(self.stream)
        if self.stream.plan.format == "parquet":
            self.stream = converted(self._target, self.stream)
        else:
            self._file.write(self.stream.end())
            self._sync()

    def publish(self, *, recorded: bool) -> Path:
        """Gives the file its name, and writes its manifest. Returns its path."""
        file = self._target.file(self.stream)
        manifest = manifest_of(self.stream, file.name, recorded=recorded)
        replace_durably(manifest_beside(file), as_json(manifest))
        is_converted = self.stream.plan.format == "parquet"
        (self._target.converted if is_converted else self._target.partial).replace(file)
        self._target.partial.unlink(missing_ok=True)
        self._target.checkpoint.unlink(missing_ok=True)
        fsync_directory(file.parent)
        return file

    def close(self) -> None:
        """Lets another process write the file."""
        self._file.close()

    def _save(self) -> None:
        """Notes how far the file is complete; its bytes are on the disk before that."""
        self._sync()
        Checkpoint.of(self.stream).save(self._target.checkpoint)
        self._saved_at = time.monotonic()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def new_stream(plan: Plan) -> Stream:
    """Returns the stream of a file that can be continued: Parquet is staged, because it is readable as a whole only."""
    encoder = encoder_of(plan)
    return Stream(plan, StagingEncoder() if plan.format == "parquet" else encoder)


def locked(path: Path, mode: str) -> BinaryIO:
    """Opens a file that no other process writes.

    :raises ExportRefused: another one does, or this is Windows.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        raise ExportRefused(
            "Windows has no locks for files: export to standard output, --output -, or in WSL"
        ) from None
    file = open(path, mode, opener=private)  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ExportRefused(f"another process writes {path}: wait for it, or name another file") from None
    return cast("BinaryIO", file)


def read_again(file: BinaryIO, size: int, stream: Stream) -> None:
    """Reads the complete part of a file, for its hash; cuts off what was written behind it.

    :raises ExportRefused: the file is shorter than that.
    """
    left = size
    for data in iter(partial(file.read, PIECE), b""):
        stream.add(data[:left])
        left -= len(data[:left])
    if left:
        raise ExportRefused(f"{file.name} is shorter than it was: begin again with --force")
    file.seek(size)
    file.truncate()


def converted(target: Target, done: Stream) -> Stream:
    """Writes the staged events in the format of the export. Returns the stream of the finished file."""
    stream = Stream(done.plan)
    with open(target.converted, "wb", opener=private) as file:
        file.write(stream.begin())
        file.writelines(stream.encode(Portion(rows, rows[-1].index + 1)) for rows in staged(target.partial))
        file.write(stream.end())
        fsync_file(file)
    stream.position = done.position
    return stream


def as_json(manifest: dict[str, Any]) -> bytes:
    """Returns a manifest as people can read it, too."""
    return (json.dumps(manifest, indent=2) + "\n").encode()
