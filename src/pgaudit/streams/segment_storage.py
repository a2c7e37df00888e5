"""Where segments are stored: a directory, or a bucket."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pgaudit.errors import InvalidStream, MissingExtra
from pgaudit.streams.segments import CHECKPOINT
from pgaudit.streams.urls import StreamURL


class SegmentStorage(Protocol):
    """Stored files, by their names."""

    def names(self) -> Iterable[str]:
        """Returns the names of all files, in their order."""
        ...

    def get(self, name: str) -> bytes:
        """Returns the content of a file."""
        ...


class LocalStorage:
    """Files in a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Returns the names of all files, in their order."""
        return sorted(path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file())

    def get(self, name: str) -> bytes:
        """Returns the content of a file."""
        return (self._path / name).read_bytes()


def open_storage(place: str) -> SegmentStorage:
    """Returns the storage at ``s3://BUCKET/PREFIX``, or in a directory.

    :raises InvalidStream: there is no such directory, or the URL cannot be used.
    :raises MissingExtra: boto3 is not installed.
    :raises DestinationRefused: AWS's variables and files cannot be used.
    """
    if not place.startswith("s3:"):
        if not Path(place).is_dir():
            raise InvalidStream(f"{place} is no directory: write one, or s3://BUCKET/PREFIX")
        return LocalStorage(Path(place))
    try:
        from pgaudit.streams.s3_bucket import Bucket  # noqa: PLC0415 - its packages are an extra
    except ModuleNotFoundError as error:
        raise MissingExtra(f'{error.name} is not installed: pip install "pgaudit[s3]"') from error
    return Bucket.of(StreamURL.parse(place))


def checkpoint_names(names: Iterable[str]) -> dict[int, str]:
    """Returns the names of checkpoints by their sizes (events covered), in ascending order."""
    found = ((CHECKPOINT.fullmatch(name), name) for name in names)
    return dict(sorted((int(match[1]), name) for match, name in found if match))
