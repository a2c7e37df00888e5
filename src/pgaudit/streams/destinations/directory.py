"""The directory of one stream: only one process writes to it at a time, and a file there says what was written last."""

import json
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pgaudit._durable_files import fsync_directory, replace_file
from pgaudit.streams.destinations.deduplication import go_on_beside
from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.request import Request

POSITION: Final = "position.json"
REPLAYED: Final = "replay.json"


class Directory:
    """The directory of a stream. ``position.json`` there names it; a range that is replayed has a note of its own."""

    def __init__(self, request: Request) -> None:
        self.path = Path(request.url.path)
        self.continued = request.continued
        self.run = request.started_at.isoformat() if request.started_at else ""
        self._stream = request.stream
        self._note = REPLAYED if request.is_replay else POSITION

    @contextmanager
    def locked(self) -> Generator[dict[str, Any] | None]:
        """Locks the directory; yields what was noted last.

        The lock in the database is not enough: a worker whose connection has broken may still write while another
        worker sends the same events.

        :raises DeliveryFailed: another process writes, the directory is gone, or an error of the disk.
        :raises DestinationRefused: it is the directory of another stream.
        """
        import fcntl  # noqa: PLC0415 - not on Windows

        try:
            if not self.continued:
                self.path.mkdir(parents=True, exist_ok=True)
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield self._position()
            finally:
                os.close(directory)
        except BlockingIOError:
            raise DeliveryFailed(f"another process writes to {self.path}") from None
        except OSError as error:
            raise DeliveryFailed(f"{self.path} cannot be written: {error.strerror or error}") from None

    def check(self) -> None:
        """Checks that the stream can write here.

        :raises DeliveryFailed: it cannot now; or, DestinationRefused, not until someone acts.
        """
        with self.locked(), tempfile.TemporaryFile(dir=self.path) as file:
            file.write(b"0")

    def note(self, position: Mapping[str, Any]) -> None:
        """Stores what was written, in one step."""
        content = json.dumps({"stream": self._stream, **position}, indent=1) + "\n"
        replace_file(self.path / self._note, content.encode(), self.path / f"{self._note}.new")
        fsync_directory(self.path)

    def _position(self) -> dict[str, Any] | None:
        """Returns what was noted last; None in a new directory.

        :raises DeliveryFailed: the stream has written to it before, and nothing is there.
        :raises DestinationRefused: the note cannot be read, or is another stream's.
        """
        try:
            position: dict[str, Any] = json.loads((self.path / self._note).read_text(encoding="utf-8"))
            stream = position.pop("stream")
        except FileNotFoundError:
            if self.continued:
                raise DeliveryFailed(
                    f"{self.path} has no {self._note}, which the stream has written there: is the file system mounted, "
                    "and is it the same one for all workers? If the files are lost, pgaudit stream rewind writes them "
                    "again"
                ) from None
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DestinationRefused(
                f"{self.path / self._note} cannot be read ({type(error).__name__}): choose another directory"
            ) from None
        if stream != self._stream:
            raise DestinationRefused(f"{self.path} has the files of the stream {stream}: choose a directory for each")
        return position

    def refuse_ahead(self, index: int, first: int) -> None:
        """Raises the error that the directory has later events, or others, than the log.

        :param first: the index from which on they differ.

        :raises DestinationRefused: always.
        """
        raise DestinationRefused(
            f"{self.path} has events up to index {index} already, and not those that follow in the log: was the "
            f"database restored from an older backup? Nothing was overwritten. {go_on_beside(self._stream, first)}"
        )
