"""Several signers of one name: whatever they sign, no size has two roots."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgaudit.sealing.keys import MARK_SUFFIX, create, new_keys
from pgaudit.sealing.notes import Checkpoint, Note, VerifierKey
from pgaudit.sealing.verify import verify
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.support.events import events
from tests.support.jobs import record_and_commit, record_persist_and_commit
from tests.support.processes import Process, kill, start_worker
from tests.support.queries import value, value_in
from tests.support.waiting import wait_until

NAME = "audit.example.com/claims"
SIGNED = "SELECT coalesce(max(size), 0) FROM pgaudit.checkpoint"
NOTES = "SELECT note FROM pgaudit.checkpoint ORDER BY size"
REFUSED = "SELECT refused FROM pgaudit.sealing_state"
# Signs a tree of 255 leaves, which all have the same hash, for each file for what was signed last that it is told.
SIGN = """
import sys
from pathlib import Path
from pgaudit.errors import RolledBack
from pgaudit.sealing.keys import HighWaterMark, load
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.tiles import TiledTree
key, leaf = sys.argv[1:]
tiled = TiledTree(255, None, [leaf.encode() * 32 * 255])
keys = load(key)
print("ready", flush=True)
for line in sys.stdin:
    try:
        Signer(keys, HighWaterMark(Path(line.strip()))).sign(tiled)
        print("signed", flush=True)
    except RolledBack:
        print("refused", flush=True)
"""
ROUNDS = 100


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a new signing key."""
    create(tmp_path / "key", new_keys(NAME))
    return tmp_path / "key"


def start(dsn: str, key: Path, anchor: Path, mark: Path) -> Process:
    """Starts a worker that signs often, with an anchor of its own."""
    anchor.mkdir()
    return start_worker(
        dsn,
        PGAUDIT_SIGNING_KEY=str(key),
        PGAUDIT_SIGNING_MARK=str(mark),
        PGAUDIT_CHECKPOINT_INTERVAL="0.05",
        PGAUDIT_HEARTBEAT_EVENTS="0",
        PGAUDIT_VERIFY_INTERVAL="0",
        PGAUDIT_ANCHORS=f"file:{anchor}",
    )


def roots(*notes: Note) -> dict[int, set[bytes]]:
    """The roots that were signed of each size."""
    found: dict[int, set[bytes]] = defaultdict(set)
    for note in notes:
        checkpoint = Checkpoint.parse(note.text)
        found[checkpoint.size].add(checkpoint.root)
    return found


def stored(dsn: str) -> list[Note]:
    """The checkpoints of a database."""
    with psycopg.connect(dsn) as conn:
        return [Note.parse(note) for (note,) in conn.execute(NOTES).fetchall()]


def kept(*anchors: Path) -> list[Note]:
    """The checkpoints of anchors."""
    return [Note.parse(file.read_text()) for anchor in anchors for file in anchor.iterdir()]


def verifiers(key: Path) -> list[VerifierKey]:
    """The public keys beside a key."""
    return [VerifierKey.parse(line) for line in key.with_name("key.pub").read_text().splitlines()[1:]]


@pytest.mark.parametrize("shared", [True, False], ids=["one mark", "a mark each"])
def test_two_signers_of_one_database(dsn: str, key: Path, tmp_path: Path, shared: bool) -> None:
    """They take turns, and what they sign and anchor is one log."""
    marks = [tmp_path / "one.mark", tmp_path / ("one.mark" if shared else "other.mark")]
    anchors = [tmp_path / "anchor-1", tmp_path / "anchor-2"]
    processes = [start(dsn, key, anchor, mark) for anchor, mark in zip(anchors, marks, strict=True)]
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            for count in range(1, 31):
                record_and_commit(conn, *events(10))
                wait_until("it is signed", lambda: value(conn, SIGNED) == 10 * count, seconds=60)  # noqa: B023 - here
            wait_until("both have signed", lambda: all(mark.exists() for mark in marks))
            assert value(conn, REFUSED) is None
    finally:
        for process in processes:
            kill(process)
    notes = [*stored(dsn), *kept(*anchors)]
    assert all(len(found) == 1 for found in roots(*notes).values())
    with psycopg.connect(dsn, autocommit=True) as conn:
        result = verify(conn, keys=verifiers(key), anchors={"file:/anchors": kept(*anchors)})
    assert (result.findings, result.end) == ([], 300)


@pytest.fixture
def forks(server: Server, dsn: str) -> Iterator[list[str]]:
    """A database and its copy, in which each went on with events of its own."""
    with psycopg.connect(dsn) as conn:
        record_persist_and_commit(conn, *events(10))
        name = conn.info.dbname
    with fresh_database(server, template=name) as database:
        for each in (dsn, database.dsn):
            with psycopg.connect(each) as conn:
                record_persist_and_commit(conn, *events(10))
        yield [dsn, database.dsn]


def test_two_signers_of_two_copies(forks: list[str], key: Path, tmp_path: Path) -> None:
    """Both copies are written to, as after a failover that left the old primary alive: one of them is signed."""
    mark = Path(f"{key}{MARK_SUFFIX}")
    anchors = [tmp_path / "anchor-1", tmp_path / "anchor-2"]
    processes = [start(dsn, key, anchor, mark) for dsn, anchor in zip(forks, anchors, strict=True)]
    try:
        wait_until("one of them is refused", lambda: any(value_in(dsn, REFUSED) for dsn in forks), seconds=60)
        for dsn in forks:
            with psycopg.connect(dsn) as conn:
                for _ in range(20):
                    record_and_commit(conn, *events(5))
        logged = "SELECT size FROM pgaudit.log_head"
        wait_until("both go on", lambda: all(value_in(dsn, logged) == 120 for dsn in forks), seconds=60)
        wait_until("one is signed", lambda: [size for dsn in forks if (size := value_in(dsn, SIGNED))] == [120])
        assert sum(value_in(dsn, REFUSED) is not None for dsn in forks) == 1
    finally:
        for process in processes:
            kill(process)
    notes = [note for dsn in forks for note in stored(dsn)] + kept(*anchors)
    assert all(len(found) == 1 for found in roots(*notes).values())


def test_two_processes_never_sign_two_roots_of_one_size(key: Path, tmp_path: Path) -> None:
    """Between looking at what was signed last and noting what is signed next, no other process does either."""
    with ExitStack() as stack:
        processes = [stack.enter_context(signing(key, leaf)) for leaf in "ab"]
        assert answers(processes) == ["ready", "ready"]
        for number in range(ROUNDS):
            assert sorted(answers(processes, str(tmp_path / f"mark-{number}"))) == ["refused", "signed"]


def signing(key: Path, leaf: str) -> "subprocess.Popen[str]":
    """Starts a process that signs trees of one leaf."""
    command = [sys.executable, "-c", SIGN, str(key), leaf]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def answers(processes: "list[subprocess.Popen[str]]", line: str = "") -> list[str]:
    """Returns the next line of each process, all of which are told a line first."""
    for process in processes:
        assert process.stdin
        if line:
            process.stdin.write(f"{line}\n")
    return [process.stdout.readline().strip() for process in processes if process.stdout]
