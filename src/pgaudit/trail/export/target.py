"""Where an export goes: the finished file, its manifest, and the files while it is unfinished."""

from dataclasses import dataclass
from pathlib import Path

from pgaudit.errors import ExportRefused
from pgaudit.trail.export.plans import Format
from pgaudit.trail.export.stream import Stream


@dataclass(frozen=True, slots=True)
class Target:
    """A file, or a directory in which the file is named after the indexes of its first and last event.

    :param replace: a finished file, and an unfinished one, may be replaced.
    """

    path: Path
    format: Format
    replace: bool = False

    @property
    def partial(self) -> Path:
        """The unfinished file."""
        return self._beside(".partial")

    @property
    def checkpoint(self) -> Path:
        """How far it has come."""
        return self._beside(".partial.json")

    @property
    def converted(self) -> Path:
        """What the unfinished file is converted into, of a format that cannot be continued."""
        return self._beside(".converted")

    @property
    def is_interrupted(self) -> bool:
        """Whether there is an export to be continued."""
        return self.partial.exists() and self.checkpoint.exists()

    def file(self, stream: Stream) -> Path:
        """Returns the finished file."""
        if not self.path.is_dir():
            return self.path
        indexes = "empty" if stream.first_index is None else f"{stream.first_index}-{stream.last_index}"
        return self.path / f"pgaudit-{indexes}.{self.format}"

    def check(self) -> None:
        """Checks that a new export may begin here.

        :raises ExportRefused: a file is in the way.
        """
        if self.replace:
            return
        if self.path.exists() and not self.path.is_dir():
            raise ExportRefused(f"{self.path} exists: name another file, or replace it with --force")
        if self.is_interrupted:
            raise ExportRefused(
                f"{self.partial} is an interrupted export: continue it with --resume, or begin again with --force"
            )

    def check_finished(self, stream: Stream) -> None:
        """Checks that the finished file may have its name.

        :raises ExportRefused: there is such a file.
        """
        file = self.file(stream)
        if file.exists() and not self.replace:
            raise ExportRefused(f"{file} exists: move it away and use --resume, or replace it with --resume --force")

    def _beside(self, suffix: str) -> Path:
        """Returns a file beside the finished one, in the same directory, so that it can be renamed."""
        file = self.path / f"pgaudit.{self.format}" if self.path.is_dir() else self.path
        return file.with_name(file.name + suffix)


def manifest_beside(file: Path) -> Path:
    """Returns the manifest of a file."""
    return file.with_name(f"{file.name}.manifest.json")
