"""Sends reports: by e-mail, to a webhook, or as files in a directory or bucket."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pgaudit._exact_json import to_json
from pgaudit.streams.destinations.http_client import Client, open_client
from pgaudit.streams.destinations.mail_message import MailText
from pgaudit.streams.destinations.report_document import ReportDocument
from pgaudit.streams.destinations.report_files import BucketSender, DirectorySender
from pgaudit.streams.destinations.report_summary import as_json
from pgaudit.streams.destinations.smtp_client import SMTPClient, open_smtp_client
from pgaudit.streams.destinations.webhook import require_accepted
from pgaudit.streams.destinations.webhook_signatures import Signer
from pgaudit.streams.forms.field_values import in_utc
from pgaudit.streams.request import Request


class ReportSender(Protocol):
    """Sends reports."""

    def send(self, document: ReportDocument) -> int:
        """Sends a report, and returns its size in bytes. Raises what ``Destination.send`` raises."""
        ...

    def check(self) -> None:
        """Checks, without sending anything, that a report could be sent."""
        ...

    def close(self) -> None:
        """Closes connections."""
        ...


def open_report_sender(request: Request) -> ReportSender:
    """Returns what sends the reports of a stream.

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
            from pgaudit.streams.destinations.s3 import open_bucket  # noqa: PLC0415 - it needs boto3

            return BucketSender(open_bucket(request))
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
        moment = in_utc(document.summary.day.end)
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
