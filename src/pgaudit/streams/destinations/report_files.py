"""Writes reports into a directory, or puts them into a bucket: an HTML file and a CSV file."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from pgaudit._durable_files import fsync_directory, replace_file
from pgaudit.streams.destinations.report_document import ReportDocument
from pgaudit.streams.outcomes import DeliveryFailed

HTML: Final = "text/html; charset=utf-8"
CSV: Final = "text/csv; charset=utf-8"


@dataclass(frozen=True, slots=True)
class DirectorySender:
    """Two files in a directory, which appear when they are complete."""

    path: Path

    def send(self, document: ReportDocument) -> int:
        """Writes the files; returns when the disk has them. The same report replaces itself."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            size = self._write(f"{document.name}.csv", document.csv)
            size += self._write(f"{document.name}.html", document.html.encode())
            fsync_directory(self.path)
        except OSError as error:
            raise self._failure(error) from None
        return size

    def check(self) -> None:
        """Makes the directory, and a file that is gone at once."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            NamedTemporaryFile(dir=self.path).close()
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Has nothing to close."""

    def _write(self, name: str, content: bytes) -> int:
        replace_file(self.path / name, content, self.path / f".{name}.new")
        return len(content)

    def _failure(self, error: OSError) -> DeliveryFailed:
        return DeliveryFailed(f"{self.path} cannot be written: {error.strerror or error}")


@dataclass(frozen=True, slots=True)
class BucketSender:
    """Two objects in a bucket. The same report has the same name, and is there already."""

    bucket: Any

    def send(self, document: ReportDocument) -> int:
        """Puts the objects."""
        html = document.html.encode()
        self.bucket.put(f"{document.name}.csv", document.csv, CSV)
        self.bucket.put(f"{document.name}.html", html, HTML)
        return len(document.csv) + len(html)

    def check(self) -> None:
        """Lists the first object."""
        next(iter(self.bucket.names(page=1)), None)

    def close(self) -> None:
        """Closes connections."""
        self.bucket.close()
