"""A sealed log, and packs of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgaudit.sealing.keys import HighWaterMark
from pgaudit.sealing.notes import ED25519
from pgaudit.sealing.packs.description import Kind
from pgaudit.sealing.packs.output import PackOutput
from pgaudit.sealing.packs.planning import plan_pack
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.signing import SigningKey
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.trail.export.copying import copy
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

KEY = SigningKey("audit.example.com/claims", ED25519, bytes(range(32)))
POLICY = str(Policy.of([KEY.verifier]))
Export = Callable[..., Path]


def append(conn: psycopg.Connection, count: int) -> None:
    """Appends ordinary events."""
    for start in range(0, count, 500):
        assert record_persist_and_commit(conn, *events(min(500, count - start))) == []


def signer_in(directory: Path) -> Signer:
    """Returns a signer with the key of the tests."""
    return Signer([KEY], HighWaterMark(directory / "mark"))


def export(  # noqa: PLR0913 - one for each choice
    conn: psycopg.Connection,
    path: Path,
    query: str = "",
    kind: Kind = "proofs",
    policy: str = POLICY,
    *,
    complete: bool = False,
) -> Path:
    """Writes a pack, without an event about it."""
    output = PackOutput(path, plan_pack(conn, query, policy, kind, complete=complete))
    try:
        assert copy(conn, output, None, lambda _: None) == path
    finally:
        output.close()
    return path


@pytest.fixture(scope="session")
def sealed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with 600 events, of which 590 are sealed: two complete tiles, and an incomplete one of two levels."""
    with fresh_database(server) as database:
        with psycopg.connect(database.dsn) as conn:
            append(conn, 590)
            assert seal(conn, signer_in(tmp_path_factory.mktemp("signer")))
            append(conn, 10)
        yield database.dsn


@pytest.fixture(scope="session")
def packs(sealed: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pack of each kind, for reading: of three events with proofs, of two tiles of events, and of all."""
    directory = tmp_path_factory.mktemp("packs")
    with psycopg.connect(sealed, autocommit=True) as conn:
        return {
            "proofs": export(conn, directory / "proofs", "target:claim:7,claim:8"),
            "tiles": export(conn, directory / "tiles", "target:claim:7,claim:80", "tiles"),
            "whole": export(conn, directory / "whole", "", "tiles"),
        }


@pytest.fixture(params=["proofs", "tiles", "whole"])
def pack(packs: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of each pack, to be changed."""
    return Path(shutil.copytree(packs[request.param], tmp_path / "pack"))
