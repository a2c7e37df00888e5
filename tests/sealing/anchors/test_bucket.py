"""Anchors in S3: moto's server, with Object Lock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from pgaudit.errors import AnchorFailed, InvalidNote, InvalidSettings
from pgaudit.sealing.anchors import anchor_at
from pgaudit.sealing.anchors.bucket import Bucket
from tests.support.anchors import OTHER_ROOT, anchor_of, checkpoint, submit

KEY = f"claims/{9:020d}.checkpoint"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of moto's server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, and two buckets: with Object Lock and without."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    client = boto3.session.Session().client("s3", endpoint_url=endpoint)
    place = {"LocationConstraint": "eu-central-1"}
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=place)
    client.create_bucket(Bucket="open", CreateBucketConfiguration=place)
    yield client
    client.close()
    httpx.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()


def at(endpoint: str, bucket: str = "locked") -> Bucket:
    """Returns the anchor on a bucket."""
    anchor: Bucket = anchor_of(f"s3://{bucket}/claims?retain=2557d&endpoint={endpoint}", Bucket)
    return anchor


def test_a_checkpoint_is_locked_and_cannot_be_deleted(s3: Any, endpoint: str) -> None:
    """The object is locked in compliance mode for the days of the URL, and its version cannot be deleted."""
    submit(at(endpoint), checkpoint(9))
    assert list(at(endpoint).read()) == [checkpoint(9)]
    head = s3.head_object(Bucket="locked", Key=KEY)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    kept = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=2556) < kept <= timedelta(days=2557)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="locked", Key=KEY, VersionId=head["VersionId"])


def test_checkpoints_are_read_by_size_even_when_they_are_hidden(s3: Any, endpoint: str) -> None:
    """A delete marker and a later version of the object hide nothing: all versions are compared with the log."""
    for size in (300, 9, 10):
        submit(at(endpoint), checkpoint(size))
    s3.delete_object(Bucket="locked", Key=KEY)
    s3.put_object(Bucket="locked", Key=KEY.replace("09.", "10."), Body=str(checkpoint(10, OTHER_ROOT)).encode())
    found = [*at(endpoint).read()]
    assert [note.text.split("\n")[1] for note in found] == ["9", "10", "10", "300"]
    assert {str(checkpoint(10)), str(checkpoint(10, OTHER_ROOT))} <= {str(note) for note in found}


def test_the_same_checkpoint_may_come_twice_and_another_of_its_size_is_refused(s3: Any, endpoint: str) -> None:
    """An object is never overwritten."""
    submit(at(endpoint), checkpoint(9))
    submit(at(endpoint), checkpoint(9))
    with pytest.raises(AnchorFailed, match=r"09\.checkpoint is another checkpoint: the log was forked"):
        submit(at(endpoint), checkpoint(9, OTHER_ROOT))
    assert len(s3.list_object_versions(Bucket="locked")["Versions"]) == 1


@pytest.mark.parametrize(("bucket", "code"), [("open", "InvalidRequest"), ("missing", "NoSuchBucket")])
def test_a_bucket_without_object_lock_is_a_failure(s3: Any, endpoint: str, bucket: str, code: str) -> None:
    """A checkpoint that could be deleted is not stored."""
    with pytest.raises(AnchorFailed, match=f"S3 answers {code}: ") as failure:
        submit(at(endpoint, bucket), checkpoint(9))
    assert "hunter2" not in str(failure.value)
    assert "Versions" not in s3.list_object_versions(Bucket="locked")


def test_an_object_that_is_no_checkpoint_is_named(s3: Any, endpoint: str) -> None:
    """It cannot be compared with a log; objects with other names are left alone."""
    s3.put_object(Bucket="locked", Key="claims/README", Body=b"Checkpoints of the audit log")
    assert list(at(endpoint).read()) == []
    s3.put_object(Bucket="locked", Key=KEY, Body=b"nonsense")
    with pytest.raises(InvalidNote, match=r"09\.checkpoint \(version .*\) has no checkpoint"):
        list(at(endpoint).read())


@pytest.mark.usefixtures("s3")
def test_a_server_that_is_down_is_a_failure() -> None:
    """One attempt with time limits; the anchor is tried again later."""
    with pytest.raises(AnchorFailed, match="S3 does not answer: EndpointConnectionError"):
        submit(at("http://127.0.0.1:1"), checkpoint(9))


@pytest.mark.usefixtures("s3")
def test_a_profile_that_does_not_exist_is_an_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with AWS's own settings shows when the anchors are opened."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(InvalidSettings, match=r"s3://locked/: .*missing"):
        anchor_at("s3://locked?retain=1d")
