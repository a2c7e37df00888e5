"""``s3://BUCKET/PREFIX?retain=2557d``: a bucket with Object Lock.

Each checkpoint is an object, locked in compliance mode: until its retention ends, no user can delete or overwrite that
version, not even the account's root user. All versions are read back, so an object above another one hides nothing.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

from pgaudit._anchor_urls import AnchorURL
from pgaudit.errors import AnchorFailed, InvalidNote, InvalidSettings, MissingExtra
from pgaudit.sealing.anchors.anchor import Proof, own_note, size_of
from pgaudit.sealing.anchors.transport import TIMEOUT
from pgaudit.sealing.notes import Note

try:
    boto3: Any = import_module("boto3")  # they ship no types
    botocore: Any = import_module("botocore.client")
except ImportError as error:
    raise MissingExtra('anchors in S3 need boto3: pip install "pgaudit[s3]"') from error

BotoCoreError: type[Exception] = import_module("botocore.exceptions").BotoCoreError
ClientError: Any = import_module("botocore.exceptions").ClientError
SUFFIX: Final = ".checkpoint"
LARGEST: Final = 100_000  # bytes of a note
EXISTS: Final = ("PreconditionFailed", "ConditionalRequestConflict")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects below a prefix of a bucket."""

    name: str
    bucket: str
    prefix: str
    retention: timedelta
    s3: Any = field(repr=False)

    @classmethod
    def of(cls, url: AnchorURL) -> "Bucket":
        """Returns the anchor of a URL. AWS's variables and files have region and credentials.

        :raises InvalidSettings: AWS's variables and files cannot be used: there is no region, or no such profile.
        """
        bucket, _, prefix = url.location.partition("/")
        config = botocore.Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"total_max_attempts": 1})
        try:
            s3 = boto3.session.Session().client("s3", endpoint_url=url.options.get("endpoint"), config=config)
        except (BotoCoreError, ValueError) as error:
            raise InvalidSettings(f"{url.name}: {error}") from None
        return cls(url.name, bucket, f"{prefix}/" if prefix else "", timedelta(days=url.retain_days), s3)

    def submit(self, note: Note, proof: Proof, last: int) -> None:  # noqa: ARG002 - it stores, and proves nothing
        """Puts a locked object, unless there is one.

        :raises AnchorFailed: the bucket refuses it, or has another checkpoint of that size.
        """
        key, text = f"{self.prefix}{size_of(note):020d}{SUFFIX}", str(own_note(note))
        with named_errors():
            try:
                self.put(key, text)
            except ClientError as error:
                if error.response["Error"]["Code"] not in EXISTS:
                    raise
                self.require_same(key, text)

    def put(self, key: str, text: str) -> None:
        """Creates an object that is locked until its retention ends."""
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=text.encode(),
            ContentType="text/plain; charset=utf-8",
            ChecksumAlgorithm="SHA256",
            IfNoneMatch="*",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate=datetime.now(UTC) + self.retention,
        )

    def require_same(self, key: str, text: str) -> None:
        """Compares an object with the checkpoint that should have been put there.

        :raises AnchorFailed: it is another one.
        """
        if self.get(key) != text:
            raise AnchorFailed(f"{key} is another checkpoint: the log was forked, or two logs share the prefix")

    def get(self, key: str, **version: str) -> str:
        """Returns the text of an object, or of one version of it."""
        body = self.s3.get_object(Bucket=self.bucket, Key=key, **version)["Body"]
        with body:
            text: str = body.read(LARGEST).decode("utf-8", "replace")
        return text

    def read(self) -> Iterator[Note]:
        """Yields the checkpoints of all versions of all objects, hidden and overwritten ones included."""
        with named_errors():
            pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix)
            for page in pages:
                for version in page.get("Versions", []):
                    if version["Key"].endswith(SUFFIX):
                        yield self.note_of(version["Key"], version["VersionId"])

    def note_of(self, key: str, version: str) -> Note:
        """Returns the note of one version of an object.

        :raises InvalidNote: it has none.
        """
        try:
            return Note.parse(self.get(key, VersionId=version))
        except InvalidNote as error:
            raise InvalidNote(f"{key} (version {version}) has no checkpoint: {error}") from None


@contextmanager
def named_errors() -> Generator[None]:
    """Turns errors of boto3 into AnchorFailed. AWS's messages name neither keys nor their signatures.

    :raises AnchorFailed: the bucket does not answer, or refuses.
    """
    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        raise AnchorFailed(f"S3 answers {problem.get('Code')}: {problem.get('Message')}") from None
    except BotoCoreError as error:
        raise AnchorFailed(f"S3 does not answer: {type(error).__name__}") from None
