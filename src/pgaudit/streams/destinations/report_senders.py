"""What carries a report to where it is read: an e-mail, a webhook, files in a directory, objects in a bucket."""

import os
import time
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Protocol

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.http_client import Client, open_client
from pgaudit.streams.destinations.mail_message import MailText
from pgaudit.streams.destinations.report_document import ReportDocument
from pgaudit.streams.destinations.report_summary import as_json
from pgaudit.streams.destinations.smtp_client import SMTPClient, open_smtp_client
from pgaudit.streams.destinations.webhook import require_accepted, text_of
from pgaudit.streams.destinations.webhook_signatures import Signer
from pgaudit.streams.outcomes import DeliveryFailed
from pgaudit.streams.request import Request

HTML: Final = "text/html; charset=utf-8"
CSV: Final = "text/csv; charset=utf-8"


class ReportSender(Protocol):
    """Brings reports to where they are read."""

    def send(self, document: ReportDocument) -> int:
        """Returns the bytes that were sent, once the report is there. Raises what ``send`` of a destination raises."""
        ...

    def check(self) -> None:
        """Checks, without sending anything, that a report could be sent."""
        ...

    def close(self) -> None:
        """Closes connections."""
        ...


def open_report_sender(request: Request) -> ReportSender:
    """Returns the carrier of a stream of reports.

    :raises DeliveryFailed: a secret is not there; or, DestinationRefused, the URL cannot be used.
    """
    url = request.url
    match url.carrier:
        case "smtp":
            return MailSender(open_smtp_client(request), url.option("subject", "pgaudit"))
        case "webhook":
            keys = [key for option in ("secret", "previous") for key in (url.secret(option) or "").split()]
            return WebhookSender(open_client(request, keys), url.path, Signer(keys))
        case "s3":
            from pgaudit.streams.s3_bucket import Bucket  # noqa: PLC0415 - it needs boto3

            return BucketSender(Bucket.of(url))
        case _:
            return DirectorySender(Path(url.path))


@dataclass(frozen=True, slots=True)
class MailSender:
    """An e-mail: the report is its text, the CSV is attached."""

    client: SMTPClient
    prefix: str

    def send(self, document: ReportDocument) -> int:
        """Sends the e-mail."""
        domain = self.client.sender.rpartition("@")[2]
        letter = MailText(f"{self.prefix}: {document.title}", document.text, document.html)
        message = letter.message(f"<report.{document.identity}@{domain}>")
        message["X-Pgaudit-Stream"] = document.summary.stream
        message.add_attachment(document.csv, "text", "csv", filename=f"{document.name}.csv")
        return self.client.send(message)

    def check(self) -> None:
        """Logs in."""
        self.client.check()

    def close(self) -> None:
        """Has nothing to close: each e-mail has a connection of its own."""


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """A request, signed as those for events: the numbers as JSON, and both documents as texts."""

    client: Client
    path: str
    signer: Signer

    def send(self, document: ReportDocument) -> int:
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
class DirectorySender:
    """Two files in a directory, which appear when they are complete."""

    path: Path

    def send(self, document: ReportDocument) -> int:
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
