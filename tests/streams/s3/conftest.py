"""Fixtures: a bucket, and a log that is signed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import streams
from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.streams.destinations import s3 as destination
from tests.support.command_line import Commands, Run
from tests.support.object_storage import buckets, object_storage
from tests.support.streams import append, send_all

Grow = Callable[..., None]


@pytest.fixture(scope="package")
def endpoint() -> Iterator[str]:
    """The URL of moto's server."""
    with object_storage() as url:
        yield url


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, and two buckets: with Object Lock and without."""
    with buckets(endpoint, monkeypatch) as client:
        yield client


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """A signer of the log."""
    return Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments do not linger."""
    monkeypatch.setattr(destination, "LINGER_SECONDS", 0)


@pytest.fixture
def sign(admin: psycopg.Connection, signer: Signer) -> Callable[[], None]:
    """A function that signs the log."""

    def signed() -> None:
        assert seal(admin, signer) is not None

    return signed


@pytest.fixture
def archived(admin: psycopg.Connection, endpoint: str) -> str:
    """The name of a stream to the bucket, from the beginning of the log."""
    streams.add(admin, "archive", to=f"s3://open/claims?endpoint={endpoint}", start=0, allow_private=True)
    return "archive"


@pytest.fixture
def ship(dsn: str, s3: Any, at_once: None, archived: str, sign: Callable[[], None]) -> Grow:  # noqa: ARG001 - they prepare
    """A function that appends events, signs the log, and sends what the stream has."""

    def shipped(*counts: int, is_signed: bool = True) -> None:
        for count in counts:
            append(dsn, count)
            if is_signed:
                sign()
            send_all(dsn, archived)

    return shipped


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs ``pgaudit`` with these arguments; it needs no database."""
    commands = Commands()
    yield lambda *arguments: commands.run(*arguments, COLUMNS="120")
    commands.close()
