"""Attacks on tiles and checkpoints together: without the key, with a stolen one, and with one of the attacker's own."""

from pathlib import Path

from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import Level, verify
from tests.sealing.attacks.changes import CUT, recomputed
from tests.sealing.attacks.sealed import SIZE, Sealed
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.tampering import tamper


def rewrite(log: Sealed, index: int, *further: str) -> None:
    """Edits an event, and builds all tiles anew, as anyone with the software can."""
    tamper(log.conn, *recomputed(index), "TRUNCATE pgaudit.tile", *further)
    seal(log.conn, None)


def other_signer(log: Sealed, path: Path) -> Signer:
    """A signer with the log's keys, which has signed nothing."""
    return Signer(log.signer.keys, HighWaterMark(path))


def test_a_clean_log_reaches_the_level_of_its_evidence(log: Sealed) -> None:
    """Without keys it is sealed, with keys signed, with an anchor anchored; the newest events are unsealed."""
    result = log.verify()
    assert (result.findings, result.level, result.checkpoints, result.sealed) == ([], Level.SIGNED, 3, SIZE)
    assert verify(log.conn).level == Level.SEALED
    assert log.verify(log.newest).level == Level.ANCHORED
    record_persist_and_commit(log.conn, *events(5))
    assert (log.found(), log.verify().unsealed, log.verify().below_level) == ([], 5, 5)
    result = log.verify(log.checkpoints[1])
    assert (result.level, result.level_end, result.below_level) == (Level.ANCHORED, 600, 505)


def test_events_whose_checkpoints_were_removed_do_not_count_as_signed(log: Sealed) -> None:
    """They can be rewritten without the key: the result says how far the signatures reach."""
    rewrite(log, 700, "DELETE FROM pgaudit.checkpoint WHERE size > 300")
    result = log.verify()
    assert (result.findings, result.level, result.level_end, result.below_level) == ([], Level.SIGNED, 300, 800)


def test_tiles_that_are_rewritten_without_the_key(log: Sealed) -> None:
    """The checkpoints tell in which range."""
    rewrite(log, 350)
    assert set(log.found()) == {("altered", 300)}


def test_a_stolen_key(log: Sealed, tmp_path: Path) -> None:
    """With the key, another log is signed: anchors that were made before tell."""
    kept = log.newest
    rewrite(log, 300, "TRUNCATE pgaudit.checkpoint")
    assert seal(log.conn, other_signer(log, tmp_path / "thief")) is not None
    assert log.found() == []
    assert log.found(kept) == [("forked", 0)]


def test_an_anchor_that_has_many_checkpoints_tells_where_the_fork_begins(log: Sealed, tmp_path: Path) -> None:
    """The thief's own checkpoints, which the log keeps, say nothing about that."""
    kept = log.checkpoints
    rewrite(log, 700, "TRUNCATE pgaudit.checkpoint")
    assert seal(log.conn, other_signer(log, tmp_path / "thief")) is not None
    assert log.found(*kept) == [("forked", 600)]


def test_a_stolen_key_and_an_older_anchor(log: Sealed, tmp_path: Path) -> None:
    """An old anchor detects changes before its checkpoint, and none after it."""
    _, old, _ = log.checkpoints
    rewrite(log, 800, "TRUNCATE pgaudit.checkpoint")
    assert seal(log.conn, other_signer(log, tmp_path / "thief")) is not None
    assert log.found(old) == []
    tamper(log.conn, "TRUNCATE pgaudit.checkpoint")
    rewrite(log, 599)
    assert seal(log.conn, other_signer(log, tmp_path / "again")) is not None
    assert log.found(old) == [("forked", 0)]


def test_a_checkpoint_of_another_key(log: Sealed, tmp_path: Path) -> None:
    """A checkpoint is worth what its key is worth."""
    rewrite(log, 300, "TRUNCATE pgaudit.checkpoint")
    seal(log.conn, Signer(new_keys(log.signer.origin), HighWaterMark(tmp_path / "stranger")))
    assert log.found() == [("unsigned", SIZE)]


def test_a_cut_tail_with_all_that_was_sealed_of_it(log: Sealed) -> None:
    """7: the log is as it was earlier; an anchor tells, and the signer does not sign it again."""
    kept = log.newest
    tamper(
        log.conn, *CUT, "DELETE FROM pgaudit.checkpoint WHERE size > 600", "DELETE FROM pgaudit.tile WHERE number > 1"
    )
    assert log.found() == []
    assert log.found(kept) == [("rolled_back", 600)]
    assert log.verify(first=512).count == 0
