"""What a bucket answers: what is tried again, and what pauses the stream."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgaudit import streams
from pgaudit.streams import s3_bucket
from pgaudit.streams.destinations import s3 as destination
from tests.support.anchor_servers import Reply, Request, serving
from tests.support.streams import append, send_all

ERROR = "<Error><Code>{}</Code><Message>No, {}</Message></Error>"


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """Serves an S3 that answers each request with this error."""

    def answer(_: Request) -> Reply:
        return Reply(status, ERROR.format(code, "x" * 5_000).encode(), "application/xml")

    with serving(answer) as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for AWS, a region, and segments that do not linger."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHUNTER2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(destination, "LINGER_SECONDS", 0)


def outcome(dsn: str, conn: psycopg.Connection, endpoint: str) -> str:
    """Returns state and error of a stream to that endpoint."""
    append(dsn, 1)
    streams.add(conn, "archive", to=f"s3://claims?endpoint={endpoint}", start=0, allow_private=True)
    send_all(dsn, "archive")
    stream = streams.catalog.found(conn, "archive")
    return f"{stream.state}: {stream.pause_reason or stream.error}"


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (403, "AccessDenied", "paused"),
        (404, "NoSuchBucket", "paused"),
        (400, "InvalidRequest", "paused"),
        (400, "ExpiredToken", "failing"),
        (409, "ConditionalRequestConflict", "failing"),
        (429, "TooManyRequests", "failing"),
        (500, "InternalError", "failing"),
        (501, "NotImplemented", "paused"),
        (503, "SlowDown", "failing"),
    ],
)
def test_an_answer_is_tried_again_or_pauses(
    dsn: str, admin: psycopg.Connection, status: int, code: str, state: str
) -> None:
    """What needs someone to act pauses the stream, all else is tried again; the message is short, and has no secret."""
    with answering(status, code) as url:
        found = outcome(dsn, admin, url)
    assert found.startswith(f"{state}: the bucket claims answers {status} {code}: No, xxx")
    assert (len(found) < 300, "hunter2" in found.lower()) == (True, False)


def test_a_bucket_that_does_not_answer_is_tried_again(
    dsn: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is refused, or an answer that does not come, is a failure of the moment."""
    monkeypatch.setattr(s3_bucket, "CONNECT_SECONDS", 1)
    found = outcome(dsn, admin, "http://127.0.0.1:9")
    assert found == "failing: the bucket claims does not answer: EndpointConnectionError"


def test_missing_credentials_pause(dsn: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key for AWS nothing can be sent: the stream is paused, and says why."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with answering(200, "") as url:
        assert outcome(dsn, admin, url).startswith("paused: the bucket claims cannot be used: Unable to locate credent")


def test_an_endpoint_that_is_no_url_pauses(dsn: str, admin: psycopg.Connection) -> None:
    """The message names the endpoint."""
    assert outcome(dsn, admin, "nonsense") == "paused: the bucket claims cannot be used: Invalid endpoint: nonsense"
