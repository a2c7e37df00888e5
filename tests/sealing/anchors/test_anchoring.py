"""Rounds of anchoring: each anchor gets the newest checkpoint, is tried again on its own, and holds up no other."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.errors import InvalidNote
from pgaudit.grants import SEALER
from pgaudit.sealing import anchoring
from pgaudit.sealing.anchoring import Result, anchor, kept
from pgaudit.sealing.anchors import Anchor, anchor_at, anchors_of
from pgaudit.sealing.anchors.anchor import Proof, size_of
from pgaudit.sealing.anchors.transport import Answer
from pgaudit.sealing.notes import Checkpoint, Note, VerifierKey
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.signing import sign, signers
from tests.sealing.anchors.conftest import NOW, Grow
from tests.support.anchor_servers import Inbox, TimeStampingAuthority, Witness, serving, serving_bytes
from tests.support.queries import rows_and_commit, value_and_commit
from tests.support.roles import temporary_roles

TOKEN = "hunter2"
STATE = "SELECT name, size, attempts, error FROM pgaudit.anchor ORDER BY name"
SECOND = timedelta(seconds=1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for checkpoints."""
    path = tmp_path / "anchors"
    path.mkdir()
    return path


@pytest.fixture
def served() -> Iterator[ExitStack]:
    """Where servers are started that end with the test."""
    with ExitStack() as stack:
        yield stack


def inbox_on(served: ExitStack) -> tuple[Inbox, Anchor]:
    """Returns an endpoint and the anchor on it, with a token."""
    inbox = Inbox()
    url = served.enter_context(serving(inbox.answer))
    return inbox, anchor_at(url.replace("http://", f"http://{TOKEN}@") + f"/claims?sig={TOKEN}")


def test_each_anchor_gets_the_newest_checkpoint_once(
    conn: psycopg.Connection, grow: Grow, directory: Path, served: ExitStack
) -> None:
    """Only the newest checkpoint is sent, to those that do not have it."""
    inbox, endpoint = inbox_on(served)
    anchors = [anchor_at(f"file:{directory}"), endpoint]
    assert anchor(conn, anchors, NOW) == []
    grow(5)
    for size, count in ((9, 4), (10, 1)):
        note = grow(count)
        assert anchor(conn, anchors, NOW) == [Result(each.name, size, None) for each in anchors]
        assert anchor(conn, anchors, NOW) == []
        assert inbox.notes[-1] == str(note)
        assert f"{size:020d}.checkpoint" in {file.name for file in directory.iterdir()}
    assert len(inbox.notes) == len([*directory.iterdir()]) == 2


def is_kept(conn: psycopg.Connection, to: Anchor, note: Note) -> bool:
    """Returns whether an anchor that took a checkpoint has it."""
    assert [result.error for result in anchor(conn, [to], NOW)] == [None]
    return list(kept(conn, to)) == [note]


def test_a_directory_that_writes_nothing_is_found(
    conn: psycopg.Connection, grow: Grow, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as anchored can be read back: the mutant that accepts a checkpoint, and writes no file, cannot."""
    files = anchor_at(f"file:{directory}")
    with monkeypatch.context() as mutation:
        mutation.setattr("pgaudit.sealing.anchors.directory.write_once", lambda *_: None)
        assert not is_kept(conn, files, grow(5))
    assert is_kept(conn, files, grow(4))


def test_an_endpoint_that_is_sent_nothing_is_found(
    conn: psycopg.Connection, grow: Grow, served: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for the mutant that takes silence for an answer of success."""
    _, endpoint = inbox_on(served)
    with monkeypatch.context() as mutation:
        mutation.setattr("pgaudit.sealing.anchors.endpoint.send", lambda *_: Answer(200, "text/plain", b""))
        assert not is_kept(conn, endpoint, grow(5))
    assert is_kept(conn, endpoint, grow(4))


def test_a_failing_anchor_is_tried_again_on_its_own(
    conn: psycopg.Connection, grow: Grow, directory: Path, served: ExitStack
) -> None:
    """After one second, two, four …, five minutes at most; the other anchor goes on, and a success resets that."""
    inbox, endpoint = inbox_on(served)
    inbox.status = 503
    anchors, now = [endpoint, anchor_at(f"file:{directory}")], NOW
    grow(1)
    delays = list[float]()
    for attempt in range(12):
        results = anchor(conn, anchors, now)
        assert [result.error for result in results if result.name == endpoint.name] == [
            "it answers 503 Service Unavailable"
        ]
        due = value_and_commit(conn, "SELECT next_attempt_at FROM pgaudit.anchor WHERE attempts > 0")
        assert endpoint.name not in {result.name for result in anchor(conn, anchors, due - SECOND / 1_000)}
        delays.append((due - now).total_seconds())
        now = due
        grow(1)
        assert value_and_commit(conn, "SELECT max(attempts) FROM pgaudit.anchor") == attempt + 1
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    inbox.status = 200
    assert {result.error for result in anchor(conn, anchors, now)} == {None}
    assert rows_and_commit(conn, STATE) == sorted((each.name, 13, 0, None) for each in anchors)


def test_an_anchor_that_hangs_holds_up_neither_the_others_nor_the_log(
    conn: psycopg.Connection, grow: Grow, directory: Path, served: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round ends without it, and events are recorded, persisted and sealed."""
    inbox, endpoint = inbox_on(served)
    inbox.released.clear()
    served.callback(inbox.released.set)
    monkeypatch.setattr(anchoring, "PATIENCE", 0.5)
    grow(1)
    files = anchor_at(f"file:{directory}")
    began = time.monotonic()
    results = anchor(conn, [endpoint, files], NOW)
    assert time.monotonic() - began < 5
    assert results == [Result(endpoint.name, 1, "it did not answer within 0 s"), Result(files.name, 1, None)]
    grow(1)
    assert anchor(conn, [endpoint, files], NOW) == [Result(files.name, 2, None)]


class Watching:
    """An anchor that looks at the connection while it is asked."""

    name = "watching"

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn
        self.seen: Any = None

    def submit(self, note: Note, proof: Proof, last: int) -> None:
        """Notes in which state the connection is, before and after a proof."""
        before = self.conn.info.transaction_status
        proof(1)
        self.seen = (before, self.conn.info.transaction_status, note, last)


def test_no_transaction_is_open_while_an_anchor_is_asked(conn: psycopg.Connection, grow: Grow) -> None:
    """A slow anchor must not hold back vacuum, or locks."""
    watching = Watching(conn)
    note = grow(3)
    assert anchor(conn, [watching], NOW) == [Result("watching", 3, None)]
    idle = psycopg.pq.TransactionStatus.IDLE
    assert watching.seen == (idle, idle, note, 0)


class Broken:
    """An anchor with a fault of its own."""

    name = "broken"

    def submit(self, *_: Any) -> None:
        """Fails with an error that quotes a secret."""
        raise ValueError(f"Bearer {TOKEN}")


def test_secrets_are_nowhere(
    conn: psycopg.Connection, grow: Grow, served: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither results nor log nor database have a token, whatever an anchor or an error quotes."""
    caplog.set_level(logging.DEBUG)
    inbox, endpoint = inbox_on(served)
    inbox.status = 403
    nonsense = served.enter_context(serving_bytes(f"{TOKEN}\r\n\r\n".encode()))
    anchors: list[Anchor] = [
        endpoint,
        Broken(),
        anchor_at(f"http://{TOKEN}@127.0.0.1:1/?sig={TOKEN}"),
        anchor_at(nonsense.replace("http://", f"http://{TOKEN}@")),
    ]
    grow(1)
    results = anchor(conn, anchors, NOW)
    assert all(result.error for result in results)
    assert next(result for result in results if (result.error or "").startswith("ValueError at ")).name == "broken"
    rows = rows_and_commit(
        conn, "SELECT a::text, r::text FROM pgaudit.anchor a FULL JOIN pgaudit.anchor_receipt r ON true"
    )
    assert len(rows) == len(results) == 4
    for shown in (repr(results), caplog.text, repr(rows), repr(anchors), repr(Settings(anchors=f"http://{TOKEN}@x"))):
        assert TOKEN not in shown


def test_receipts_are_stored_and_cosignatures_merged(
    conn: psycopg.Connection, grow: Grow, signer: Signer, served: ExitStack, tmp_path: Path
) -> None:
    """Receipts of an authority and two witnesses, whose signatures are below the stored note; its text stays."""
    authority = TimeStampingAuthority(tmp_path)
    tsa = served.enter_context(serving(authority.answer))
    urls = [f"rfc3161+{tsa}?roots={authority.roots}"]
    keys = list[VerifierKey]()
    for name in ("a.example.com", "b.example.com"):
        witness = Witness(str(signer.keys[0].verifier), name)
        urls.append(f"witness+{served.enter_context(serving(witness.answer))}?vkey={quote(witness.vkey)}")
        keys.append(VerifierKey.parse(witness.vkey))
    anchors = anchors_of(Settings(anchors=",".join(urls)))
    notes = list[Note]()
    for now in (NOW, NOW + SECOND):
        notes.append(grow(5))
        assert {result.error for result in anchor(conn, anchors, now)} == {None}
    for size, note in zip((5, 10), notes, strict=True):
        query = "SELECT note FROM pgaudit.checkpoint WHERE size = %s"
        stored = Note.parse(value_and_commit(conn, query, [size]))
        assert (stored.text, stored.signatures[:1]) == (note.text, note.signatures)
        assert signers(stored, [signer.keys[0].verifier, *keys]) == [signer.keys[0].verifier, *keys]
    for each in anchors:
        assert [size_of(note) for note in kept(conn, each)] == [5, 10]


def test_receipts_are_for_the_stored_checkpoints(
    conn: psycopg.Connection, grow: Grow, signer: Signer, served: ExitStack, tmp_path: Path
) -> None:
    """An owner who replaces a checkpoint, or removes it, has receipts that belong to none."""
    authority = TimeStampingAuthority(tmp_path)
    witness = Witness(str(signer.keys[0].verifier))
    tsa, url = (served.enter_context(serving(server.answer)) for server in (authority, witness))
    anchors = [
        anchor_at(f"rfc3161+{tsa}?roots={authority.roots}"),
        anchor_at(f"witness+{url}?vkey={quote(witness.vkey)}"),
    ]
    grow(5)
    assert {result.error for result in anchor(conn, anchors, NOW)} == {None}
    conn.execute("ALTER TABLE pgaudit.checkpoint DISABLE TRIGGER reject_direct_write")
    forged = sign(Checkpoint(signer.origin, 5, bytes(32)), signer.keys)
    for statement in ("UPDATE pgaudit.checkpoint SET note = %s", "DELETE FROM pgaudit.checkpoint WHERE note = %s"):
        conn.execute(statement, [str(forged)])
        for each in anchors:
            with pytest.raises(InvalidNote, match=r"vouches for a checkpoint of 5 events, which is not the stored one"):
                list(kept(conn, each))


class Overtaken:
    """A witness that answers when the next checkpoint is there already."""

    name = "overtaken"

    def __init__(self, witness: Anchor, grow: Grow) -> None:
        self.witness = witness
        self.grow = grow

    def submit(self, note: Note, proof: Proof, last: int) -> Any:
        """Has the note cosigned, and lets the log grow meanwhile."""
        receipt = self.witness.submit(note, proof, last)
        self.grow(1)
        return receipt


def test_a_cosignature_that_comes_late_is_added_to_its_checkpoint(
    conn: psycopg.Connection, grow: Grow, signer: Signer, served: ExitStack
) -> None:
    """A newer checkpoint does not keep a witness from being heard about the one before."""
    witness = Witness(str(signer.keys[0].verifier))
    url = f"witness+{served.enter_context(serving(witness.answer))}?vkey={quote(witness.vkey)}"
    grow(5)
    assert [result.error for result in anchor(conn, [Overtaken(anchor_at(url), grow)], NOW)] == [None]
    counts = rows_and_commit(conn, "SELECT size, note FROM pgaudit.checkpoint ORDER BY size")
    assert [(size, len(Note.parse(note).signatures)) for size, note in counts] == [(5, 2), (6, 1)]


def test_two_processes_do_not_send_at_once(conn: psycopg.Connection, dsn: str, grow: Grow, directory: Path) -> None:
    """While one process waits for an anchor, another one does not send to it; after two minutes it does."""
    files = anchor_at(f"file:{directory}")
    grow(1)
    claim = "SELECT name FROM pgaudit.claim_anchors(%s, %s, '2 minutes')"
    assert rows_and_commit(conn, claim, [[files.name], NOW]) == [(files.name,)]  # and this process died
    with psycopg.connect(dsn) as other:
        assert anchor(other, [files], NOW + 119 * SECOND) == []
        assert anchor(other, [files], NOW + 120 * SECOND) == [Result(files.name, 1, None)]


def test_an_anchor_that_is_no_longer_named_is_forgotten_but_its_receipts_are_not(
    conn: psycopg.Connection, grow: Grow, directory: Path
) -> None:
    """It must not count as late for ever; what it proved stays proved."""
    grow(1)
    conn.execute("SELECT * FROM pgaudit.claim_anchors('{old}', now(), '1 s')")
    conn.execute("SELECT pgaudit.note_anchored('old', 1, now(), 'receipt')")
    conn.commit()
    anchor(conn, [anchor_at(f"file:{directory}")], NOW)
    assert [name for name, *_ in rows_and_commit(conn, STATE)] == [f"file:{directory}"]
    assert rows_and_commit(conn, "SELECT name, size, receipt FROM pgaudit.anchor_receipt") == [("old", 1, "receipt")]


def test_a_sealer_anchors_and_writes_no_table(dsn: str, grow: Grow, directory: Path) -> None:
    """The rights of a process that seals are enough for a round; tables are written by functions only."""
    grow(1)
    files = anchor_at(f"file:{directory}")
    with temporary_roles(dsn, "t_sealer"), psycopg.connect(dsn, autocommit=True) as owner:
        for statement in SEALER:
            owner.execute(psycopg.sql.SQL(statement).format(role=psycopg.sql.Identifier("t_sealer")))
        with psycopg.connect(dsn, user="t_sealer", autocommit=True) as conn:
            assert anchor(conn, [files], NOW) == [Result(files.name, 1, None)]
            for table in ("anchor", "anchor_receipt"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(psycopg.sql.SQL("DELETE FROM pgaudit.{}").format(psycopg.sql.Identifier(table)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the functions of pgaudit"):
            owner.execute("DELETE FROM pgaudit.anchor_receipt")
