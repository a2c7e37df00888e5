"""Both verifiers find an event, a day or a year that is left out of a complete pack, and what does not belong to it."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from operator import methodcaller
from pathlib import Path

import psycopg
import pytest

from pgaudit.errors import LogDamaged
from pgaudit.events import Target
from pgaudit.sealing import tree
from pgaudit.sealing.completeness import closing, complete, prove
from pgaudit.sealing.completeness.offline import target_key
from pgaudit.sealing.completeness.periods import Period
from pgaudit.sealing.completeness.sorted_tree import TargetTile
from pgaudit.sealing.stored_tree import tree_of
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.sealing.completeness.test_left_out import without
from tests.sealing.packs.complete.conftest import LATER, SEALED, Document, change
from tests.sealing.packs.conftest import export
from tests.sealing.packs.verifiers import assert_refused, assert_verified, by_program, describe, described


def test_an_event_left_out_is_found(pack: Path) -> None:
    """If it is one of a sealed day; that a later one is missing is what a pack does not show."""
    lines = (pack / "events.ndjson").read_bytes().splitlines(keepends=True)
    indexes = [*SEALED, *LATER]
    for left_out in (*SEALED, *LATER):
        copy = Path(shutil.copytree(pack, pack.with_name(f"without-{left_out}")))
        kept = [index for index in indexes if index != left_out]
        (copy / "events.ndjson").write_bytes(b"".join(lines[indexes.index(index)] for index in kept))
        for unused in (f"proofs/{left_out}.tlog-proof", *["tile/0/000"] * (left_out == 0)):
            (copy / unused).unlink(missing_ok=True)
        listed = ",".join(map(str, kept))
        describe(copy, indexes=listed, count=4, first_index=kept[0], last_index=kept[-1])
        if left_out in SEALED:
            assert_refused(copy, rf"events\.ndjson: event {left_out} is missing")
        else:
            assert_verified(copy)
            assert "After that, the pack has 1 event." in by_program(copy)[1]


@pytest.mark.parametrize("query", ["target:claim:7,claim:8", "target:claim:7 action:claim.paid", "", "target:claim:8"])
def test_a_proof_in_another_pack_is_found(log: Log, made: dict[str, Path], tmp_path: Path, query: str) -> None:
    """With more events, with fewer, or of another target, whatever the query is said to be."""
    pack = export(log.conn, tmp_path / "pack", query, "tiles")
    shutil.copy(made["7-tiles"] / "completeness.json", pack)
    describe(pack)
    assert_refused(pack, r"completeness\.json|does not name the target")
    describe(pack, query="target:claim:7")
    assert_refused(pack, r"does not name the target|not among the sealed ones|is missing|nothing to check")


def test_a_target_of_the_same_text_is_another_target(made: dict[str, Path], log: Log, tmp_path: Path) -> None:
    """``urn:claim`` with the id 7 is written like ``urn`` with the id ``claim:7``, and has no events."""
    pack = Path(shutil.copytree(made["9-tiles"], tmp_path / "pack"))
    target = Target(type="urn:claim", id="7")
    (pack / "completeness.json").write_text(str(prove(log.conn, target)))
    describe(pack, query="target:urn:claim:7")
    assert_refused(pack, "for another target than the query")


def test_a_later_event_of_another_target_is_found(log: Log, made: dict[str, Path], tmp_path: Path) -> None:
    """Whatever has to be counted as later ones names the target, too."""
    pack = export(log.conn, tmp_path / "pack", "target:claim:7,claim:8", "tiles")
    indexes = [int(index) for part in described(pack)["indexes"].split(",") for index in part.split("-")]
    indexes = sorted({*indexes, 310})
    lines = dict(zip(indexes, (pack / "events.ndjson").read_bytes().splitlines(keepends=True), strict=True))
    kept = [*SEALED, 309, 310, 311]
    (pack / "events.ndjson").write_bytes(b"".join(lines[index] for index in kept))
    shutil.copy(made["7-tiles"] / "completeness.json", pack)
    describe(pack, query="target:claim:7", indexes=",".join(map(str, kept)), count=6)
    assert_refused(pack, r"events\.ndjson: event 310 does not name the target")


def test_a_period_left_out_is_found(pack: Path) -> None:
    """The first one, all of them, one that is given twice; without the last one, the pack says less."""
    original = (pack / "completeness.json").read_text()
    changes: tuple[tuple[Callable[[list[Document]], object], str], ...] = (
        (lambda periods: periods.pop(0), r"completeness\.json.*2027-01-01"),
        (lambda periods: periods.clear(), "no event is sealed"),
        (lambda periods: periods.append(periods[0]), r"completeness\.json.*2026"),
        (lambda periods: periods.reverse(), r"completeness\.json.*2027-01-01"),
    )
    for alter, reason in changes:
        periods = json.loads(original)["periods"]
        alter(periods)
        change(pack, methodcaller("update", periods=periods))
        assert_refused(pack, reason)
        (pack / "completeness.json").write_text(original)
    change(pack, lambda proof: proof["periods"].pop())
    assert_verified(pack)
    assert "up to index 304, sealed until the end of 2026 (UTC)" in by_program(pack)[1]


def test_a_day_without_events_left_out_is_found(new_log: Log, tmp_path: Path) -> None:
    """Its indexes leave no gap; the calendar does."""
    new_log.append("claim:7")
    new_log.seal_on(date(2026, 11, 23))
    new_log.append("claim:7")
    new_log.seal_on(date(2026, 11, 26))
    assert len(new_log.close(date(2026, 11, 26))) == 3
    pack = export(new_log.conn, tmp_path / "pack", "target:claim:7", complete=True)
    assert_verified(pack)
    change(pack, lambda proof: proof["periods"].pop(1))
    assert_refused(pack, r"completeness\.json.*2026-11-25")


def test_a_proof_for_another_checkpoint_is_found(log: Log, pack: Path) -> None:
    """Although its log has signed that one as well."""
    (pack / "completeness.json").write_text(str(prove(log.conn, "claim:7", log.checkpoint.size - 1)))
    describe(pack)
    assert_refused(pack, r"completeness\.json: .*checkpoint")


def test_an_event_that_seals_nothing_is_found(log: Log, pack: Path) -> None:
    """Any other event of the log has no period."""
    (text,) = log.texts(0)
    tiled = tree_of(log.conn, log.checkpoint.size)
    path = complete.encoded(tree.inclusion_proof(0, tiled.size, tiled.node))
    change(pack, lambda proof: proof["periods"][0].update(index=0, event=text[1], proof=path))
    assert_refused(pack, r"event 0 .*seal")


def test_a_builder_that_leaves_out_a_target_is_found(
    new_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no pack; and if there were one with a proof of absence, its own events would show that it is wrong."""
    sound = closing.sorted_tiles

    def broken(conn: psycopg.Connection, period: Period) -> Iterator[TargetTile]:
        return without(target_key("claim", "7"), sound(conn, period))

    with monkeypatch.context() as patched:
        patched.setattr(closing, "sorted_tiles", broken)
        new_log.day(MONDAY, "claim:7", "claim:8")
    with pytest.raises(LogDamaged, match="the events of claim:7 in 2026-11-23 are not those that were sealed"):
        export(new_log.conn, tmp_path / "none", "target:claim:7", complete=True)
    assert list(tmp_path.glob("none*")) == []
    monkeypatch.setattr(complete, "within", lambda *_: [])
    pack = export(new_log.conn, tmp_path / "pack", "target:claim:7", complete=True)
    assert_refused(pack, r"events\.ndjson: event 0 is not among the sealed ones")
