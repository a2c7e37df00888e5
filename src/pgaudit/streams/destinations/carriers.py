"""What carries a report to where it is read: an e-mail, a webhook, files in a directory, objects in a bucket."""

import os
import time
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Protocol

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.documents import Document
from pgaudit.streams.destinations.http import Client, open_client
from pgaudit.streams.destinations.letters import Letter
from pgaudit.streams.destinations.mailer import Mailer, open_mailer
from pgaudit.streams.destinations.signatures import Signer
from pgaudit.streams.destinations.summary import as_json
from pgaudit.streams.destinations.webhook import require_accepted, text_of
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.request import Request

HTML: Final = "text/html; charset=utf-8"
CSV: Final = "text/csv; charset=utf-8"


class Carrier(Protocol):
    """Brings reports to where they are read."""

    def carry(self, document: Document) -> int:
        """Returns the bytes that were sent, once the report is there. Raises what ``send`` of a destination raises."""
        ...

    def check(self) -> None:
        """Checks, without sending anything, that a report could be sent."""
        ...

    def close(self) -> None:
        """Closes connections."""
        ...


def open_carrier(request: Request) -> Carrier:
    """Returns the carrier of a stream of reports.

    :raises DeliveryFailed: a secret is not there; or, DestinationRefused, the URL cannot be used.
    """
    url = request.url
    match url.carrier:
        case "smtp":
            return MailCarrier(open_mailer(request), url.option("subject", "pgaudit"))
        case "webhook":
            keys = [key for option in ("secret", "previous") for key in (url.secret(option) or "").split()]
            return WebhookCarrier(open_client(request, keys), url.path, Signer(keys))
        case "s3":
            from pgaudit.streams.destinations.s3 import open_bucket  # noqa: PLC0415 - it needs boto3

            return BucketCarrier(open_bucket(request))
        case _:
            return DirectoryCarrier(Path(url.path))


@dataclass(frozen=True, slots=True)
class MailCarrier:
    """An e-mail: the report is its text, the CSV is attached."""

    mailer: Mailer
    prefix: str

    def carry(self, document: Document) -> int:
        """Sends the e-mail."""
        domain = self.mailer.sender.rpartition("@")[2]
        letter = Letter(f"{self.prefix}: {document.title}", document.text, document.html)
        message = letter.message(f"<report.{document.identity}@{domain}>")
        message["X-Pgaudit-Stream"] = document.summary.stream
        message.add_attachment(document.csv, "text", "csv", filename=f"{document.name}.csv")
        return self.mailer.send(message)

    def check(self) -> None:
        """Logs in."""
        self.mailer.check()

    def close(self) -> None:
        """Has nothing to close: each e-mail has a connection of its own."""


@dataclass(frozen=True, slots=True)
class WebhookCarrier:
    """A request, signed as those for events: the numbers as JSON, and both documents as texts."""

    client: Client
    path: str
    signer: Signer

    def carry(self, document: Document) -> int:
        """Sends the request. Its id is the same for the same report."""
        texts = {"html": document.html, "csv": document.csv.decode("utf-8-sig")}
        moment = text_of(document.summary.day.end.astimezone(UTC))
        data = as_json(document.summary) | texts
        body = to_json({"type": "pgaudit.report", "timestamp": moment, "data": data}).encode()
        timestamp = int(time.time())
        headers = {
            "webhook-id": document.identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self.signer.sign(document.identity, timestamp, body),
        }
        require_accepted(self.client.post(self.path, body, headers))
        return len(body)

    def check(self) -> None:
        """Has nothing to check: a receiver of webhooks answers to events alone."""

    def close(self) -> None:
        """Closes the connection."""
        self.client.close()


@dataclass(frozen=True, slots=True)
class DirectoryCarrier:
    """Two files in a directory, which appear when they are complete."""

    path: Path

    def carry(self, document: Document) -> int:
        """Writes the files; returns when the disk has them. The same report replaces itself."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            size = self._write(f"{document.name}.csv", document.csv)
            size += self._write(f"{document.name}.html", document.html.encode())
            self._sync()
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
        temporary = self.path / f".{name}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        return len(content)

    def _sync(self) -> None:
        """Waits until the disk has the names."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _failure(self, error: OSError) -> DeliveryFailed:
        return DeliveryFailed(f"{self.path} cannot be written: {error.strerror or error}")


@dataclass(frozen=True, slots=True)
class BucketCarrier:
    """Two objects in a bucket. The same report has the same name, and is there already."""

    bucket: Any

    def carry(self, document: Document) -> int:
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
