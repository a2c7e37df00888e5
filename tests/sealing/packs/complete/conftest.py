"""Complete packs of a log of two years, which a test may change."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit.sealing.packs.description import Kind
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.sealing.completeness.conftest import Log
from tests.sealing.packs.conftest import export, signer_in
from tests.sealing.packs.verifiers import describe

Document = dict[str, Any]
KINDS: tuple[Kind, ...] = ("proofs", "tiles")
SEALED = [0, 301, 304]  # the events of claim:7 in closed days
LATER = [309, 311]


def sealed_log(log: Log) -> Log:
    """Seals two days of 2026, which are a year then, and two of 2027; the third is not over."""
    log.append("claim:7", *(f"claim:{number}" for number in range(100, 400)))
    log.seal_on(date(2026, 12, 30))
    log.append(["policy:3", "claim:7"], "claim:8")
    log.seal_on(date(2026, 12, 31))
    assert log.close(date(2026, 12, 31)) == ["2026-12-30"]
    log.append("claim:7")
    log.seal_on(date(2027, 1, 1))
    assert log.close(date(2027, 1, 1)) == ["2026-12-31", "2026"]
    log.append("claim:8")
    log.seal_on(date(2027, 1, 2))
    assert log.close(date(2027, 1, 2)) == ["2027-01-01"]
    log.append("claim:7", "claim:8", ["policy:3", "claim:7"])
    log.seal_on(date(2027, 1, 2))
    log.append("claim:7")
    return log


@pytest.fixture(scope="module")
def log(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log with claim:7 in the first year, and on the day that is not over; claim:8 on each day; claim:9 never."""
    with fresh_database(server) as database, psycopg.connect(database.dsn) as conn:
        yield sealed_log(Log(conn, signer_in(tmp_path_factory.mktemp("signer"))))


@pytest.fixture
def new_log(conn: psycopg.Connection, tmp_path: Path) -> Log:
    """An empty log."""
    (tmp_path / "signer").mkdir()
    return Log(conn, signer_in(tmp_path / "signer"))


@pytest.fixture(scope="module")
def made(log: Log, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs of each kind, of a claim with events and of one without."""
    directory = tmp_path_factory.mktemp("complete")
    return {
        f"{claim}-{kind}": export(log.conn, directory / f"{claim}-{kind}", f"target:claim:{claim}", kind, complete=True)
        for claim in (7, 9)
        for kind in KINDS
    }


@pytest.fixture(params=KINDS)
def pack(made: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the pack of claim:7, to be changed."""
    return Path(shutil.copytree(made[f"7-{request.param}"], tmp_path / "pack"))


def change(pack: Path, alter: Callable[[Document], object]) -> None:
    """Alters the proof of a pack, and makes all hashes fit."""
    path = pack / "completeness.json"
    document = json.loads(path.read_text())
    alter(document)
    path.write_text(json.dumps(document))
    describe(pack)
