"""A bucket of S3: objects below a prefix, which are put once and never overwritten."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final, Self

from pgaudit.streams.outcomes import DeliveryFailed, DestinationRefused
from pgaudit.streams.printable import excerpt
from pgaudit.streams.timeouts import ANSWER_SECONDS, CONNECT_SECONDS
from pgaudit.streams.urls import StreamURL

boto3: Any = import_module("boto3")  # they ship no types
botocore: Any = import_module("botocore.client")
errors: Any = import_module("botocore.exceptions")
LARGEST: Final = 2**28  # bytes of an object that is read
EXISTS: Final = {HTTPStatus.PRECONDITION_FAILED}
# Others put the same object at this moment, or ask to slow down; a token will be renewed; the clock will be set.
TEMPORARY: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
TEMPORARY_CODES: Final = {"ExpiredToken", "RequestTimeTooSkewed", "RequestTimeout", "SlowDown"}
SETUP_ERRORS: Final = (
    errors.NoCredentialsError, errors.PartialCredentialsError, errors.NoRegionError, errors.ProfileNotFound,
    errors.InvalidRegionError, errors.ParamValidationError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects below a prefix.

    :ivar retention: for how long Object Lock protects a new object in compliance mode; None: as the bucket says.
    """

    name: str
    prefix: str
    retention: timedelta | None
    s3: Any = field(repr=False)

    @classmethod
    def of(cls, url: StreamURL) -> Self:
        """Returns the bucket of a URL. AWS's variables and files have region and credentials.

        :raises DestinationRefused: AWS's variables and files cannot be used.
        """
        prefix = url.path.strip("/")
        days = url.number("retain", 0)
        config = botocore.Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": 1}
        )
        options = {"endpoint_url": url.option("endpoint") or None, "region_name": url.option("region") or None}
        with answers(url.place):
            s3 = boto3.session.Session().client("s3", config=config, **options)
        return cls(url.place, f"{prefix}/" if prefix else "", timedelta(days=days) if days else None, s3)

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    @property
    def endpoint(self) -> str:
        """The URL that requests go to: of the option, of AWS's variables and files, or of the region."""
        return str(self.s3.meta.endpoint_url)

    def put(self, name: str, content: bytes, content_type: str) -> bool:
        """Creates an object; returns False if there is one of that name."""
        lock: dict[str, Any] = {}
        if self.retention:
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + self.retention}
        with answers(self.name):
            try:
                self.s3.put_object(
                    Bucket=self.name, Key=self.prefix + name, Body=content, ContentType=content_type,
                    ChecksumAlgorithm="SHA256", IfNoneMatch="*", **lock,
                )  # fmt: skip
            except errors.ClientError as error:
                if status_of(error) not in EXISTS:
                    raise
                return False
        return True

    def get(self, name: str) -> bytes:
        """Returns the content of an object."""
        with answers(self.name), self.s3.get_object(Bucket=self.name, Key=self.prefix + name)["Body"] as body:
            content: bytes = body.read(LARGEST)
        return content

    def names(self, after: str = "", page: int = 1_000) -> Iterator[str]:
        """Yields the names of objects that come after a name, in their order."""
        options: dict[str, Any] = {"StartAfter": self.prefix + after} if after else {}
        with answers(self.name):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=self.prefix, PaginationConfig={"PageSize": page}, **options
            )
            for found in pages:
                for described in found.get("Contents", []):
                    yield described["Key"].removeprefix(self.prefix)

    def close(self) -> None:
        """Closes connections."""
        self.s3.close()


@contextmanager
def answers(bucket: str) -> Generator[None]:
    """Turns errors of boto3 into those of a destination. Messages of AWS contain neither keys nor signatures.

    :raises DestinationRefused: the bucket does not exist, or denies the request.
    :raises DeliveryFailed: it does not answer, or asks to try later.
    """
    try:
        yield
    except errors.ClientError as error:
        problem = error.response.get("Error", {})
        text = excerpt(f"{problem.get('Code')}: {problem.get('Message')}")
        status = status_of(error)
        failed = DeliveryFailed if is_temporary(status, problem.get("Code")) else DestinationRefused
        raise failed(f"the bucket {bucket} answers {status} {text}") from None
    except SETUP_ERRORS as error:
        raise DestinationRefused(f"the bucket {bucket} cannot be used: {error}") from None
    except errors.BotoCoreError as error:
        raise DeliveryFailed(f"the bucket {bucket} does not answer: {type(error).__name__}") from None
    except ValueError as error:  # an endpoint that is no URL
        raise DestinationRefused(f"the bucket {bucket} cannot be used: {error}") from None


def is_temporary(status: int, code: str | None) -> bool:
    """Returns whether a retry may succeed. A server that does not implement a request (501) never will."""
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    return is_server_error or status in TEMPORARY or code in TEMPORARY_CODES


def status_of(error: Any) -> int:
    """Returns the status of an answer; 500 if it had none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", HTTPStatus.INTERNAL_SERVER_ERROR))
