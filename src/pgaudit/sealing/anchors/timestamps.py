"""``rfc3161+https://HOST/PATH?roots=FILE``: a time-stamping authority (RFC 3161).

It signs the time together with the SHA-256 of the note. The answer is verified when it comes, against the certificates
of the file, and stored as receipt: base64 of its bytes, which ``openssl ts -verify`` reads.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from pgaudit._anchor_urls import AnchorURL
from pgaudit.errors import AnchorFailed, InvalidNote, MissingExtra
from pgaudit.sealing.anchors.anchor import Proof, Receipt, own_note
from pgaudit.sealing.anchors.transport import send
from pgaudit.sealing.notes import Note, decode, encode

try:
    from cryptography.x509 import Certificate, load_pem_x509_certificates
    from rfc3161_client import (
        HashAlgorithm,
        TimestampRequestBuilder,
        TimeStampResponse,
        VerificationError,
        VerifierBuilder,
        decode_timestamp_response,
    )
except ImportError as error:
    raise MissingExtra('time stamps need rfc3161-client: pip install "pgaudit[timestamps]"') from error

QUERY: Final = "application/timestamp-query"


@dataclass(frozen=True, slots=True)
class TimeStamps:
    """A time-stamping authority."""

    name: str
    url: str = field(repr=False)
    token: str = field(repr=False)
    roots: Path

    @classmethod
    def of(cls, url: AnchorURL) -> "TimeStamps":
        """Returns the anchor of a URL."""
        return cls(url.name, url.location, url.token, Path(url.options["roots"]))

    def submit(self, note: Note, proof: Proof, last: int) -> Receipt:  # noqa: ARG002 - it sees a hash, no tree
        """Asks for a time stamp of a checkpoint, and verifies it.

        :raises AnchorFailed: there is none, or it is not valid.
        """
        text = str(own_note(note)).encode()
        request = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=True).build()
        answer = send(self.url, self.token, request.as_bytes(), QUERY).require_success()
        self.verified(answer.body, text, request.nonce)
        return Receipt(encode(answer.body))

    def check(self, note: Note, receipt: str) -> None:
        """Checks that a receipt is for that checkpoint.

        :raises AnchorFailed: it is not.
        """
        self.time_of(note, receipt)

    def time_of(self, note: Note, receipt: str) -> datetime:
        """Returns when the checkpoint of that receipt existed.

        :raises AnchorFailed: the receipt is not valid, or of another checkpoint.
        """
        try:
            token = decode(receipt)
        except InvalidNote as error:
            raise AnchorFailed(f"the receipt is {error}") from None
        return self.verified(token, str(own_note(note)).encode()).tst_info.gen_time

    def verified(self, answer: bytes, text: bytes, nonce: int | None = None) -> TimeStampResponse:
        """Returns the time stamp of an answer.

        :raises AnchorFailed: it is not valid, or of another text.
        """
        builder = VerifierBuilder(roots=self.certificates(), nonce=nonce)
        try:
            response = decode_timestamp_response(answer)
            builder.build().verify_message(response, text)
        except (VerificationError, ValueError) as error:
            raise AnchorFailed(f"its time stamp is not valid: {error}") from None
        return response

    def certificates(self) -> list[Certificate]:
        """Returns the certificates of the authorities to trust.

        :raises AnchorFailed: the file cannot be read.
        """
        try:
            return load_pem_x509_certificates(self.roots.read_bytes())
        except OSError as error:
            raise AnchorFailed(f"cannot read {self.roots}: {error.strerror}") from None
        except ValueError:
            raise AnchorFailed(f"{self.roots} has no certificates in PEM") from None
