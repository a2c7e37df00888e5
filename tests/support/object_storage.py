"""S3 in tests: moto's server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"


@contextmanager
def object_storage() -> Iterator[str]:
    """Runs moto's server; yields its URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def buckets(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yields a client, and makes two buckets: ``locked``, with Object Lock, and ``open``. Removes all at the end."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    client = boto3.session.Session().client("s3", endpoint_url=endpoint)
    place: Any = {"LocationConstraint": REGION}
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=place)
    client.create_bucket(Bucket="open", CreateBucketConfiguration=place)
    try:
        yield client
    finally:
        client.close()
        httpx.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()


def objects(client: Any, bucket: str = "open") -> dict[str, bytes]:
    """Returns the objects of a bucket by their keys."""
    found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found}


def copied(client: Any, directory: Path, bucket: str = "open", prefix: str = "claims/") -> Path:
    """Copies the objects below a prefix into a directory, as ``aws s3 sync`` does."""
    for key, content in objects(client, bucket).items():
        path = directory / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory
