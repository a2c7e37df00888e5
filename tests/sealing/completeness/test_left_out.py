"""What is left out is found: a target, an index, a day, an event of the pack; and trees that were built wrong."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgaudit import AuditEvent
from pgaudit.errors import LogDamaged
from pgaudit.sealing import tree
from pgaudit.sealing.completeness import Completeness, check, closing, differences
from pgaudit.sealing.completeness.offline import Incomplete, indexes_digest, target_key
from pgaudit.sealing.completeness.periods import Period
from pgaudit.sealing.completeness.sorted_tree import TargetTile
from pgaudit.sealing.stored_tree import tree_of
from pgaudit.sealing.tiles import split_hashes
from pgaudit.sealing.verify import verify
from tests.sealing.completeness.conftest import MONDAY, Log
from tests.support.jobs import record_persist_and_commit
from tests.support.tampering import tamper

Document = dict[str, Any]
KEY = target_key("claim", "7")


def reason(log: Log, change: Callable[[Document], None], target: str = "claim:7") -> str:
    """Why a changed proof shows nothing."""
    proof = log.prove(target)
    document = deepcopy(proof.document)
    change(document)
    verdict = check(Completeness(proof.target, document["size"], document["periods"]), log.checkpoint)
    assert verdict.found is None
    return str(verdict.reason)


def test_an_index_left_out(three_days: Log) -> None:
    """The list of a day is hashed as a whole."""
    expected = "2026-11-23: a leaf is not in the sealed tree of targets"
    assert reason(three_days, lambda proof: proof["periods"][0]["member"]["indexes"].pop()) == expected


def test_an_index_of_another_day(three_days: Log) -> None:
    """And it has indexes of its day alone, ascending."""
    expected = "2026-11-23: the indexes do not ascend, or are not those of this period"
    for wrong in ([], [1, 0], [0, 0], [0, 10_000]):

        def replace(proof: Document, indexes: list[int] = wrong) -> None:
            proof["periods"][0]["member"]["indexes"] = indexes

        assert reason(three_days, replace) == expected


def test_a_day_left_out(three_days: Log) -> None:
    """Also the first, and one without events."""
    assert "2026-11-25: it begins at event" in reason(three_days, lambda proof: proof["periods"].pop(1))
    assert "2026-11-24: it begins at event" in reason(three_days, lambda proof: proof["periods"].pop(0))
    expected = "no event is sealed yet: the proof has no period with events"
    assert reason(three_days, lambda proof: proof["periods"].clear()) == expected


def test_an_empty_day_left_out(log: Log) -> None:
    """Its indexes leave no gap; the calendar does."""
    log.append("claim:7")
    log.seal_on(MONDAY)
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=3))
    log.close(MONDAY + timedelta(days=3))
    expected = "2026-11-25: days between 2026-11-23 and it are not covered"
    assert reason(log, lambda proof: proof["periods"].pop(1)) == expected


def test_a_member_said_to_be_absent(three_days: Log) -> None:
    """Its own neighbours have it between them; others are not next to each other."""

    def leave_out(proof: Document) -> None:
        stranger = three_days.prove("claim:none").periods[0]
        proof["periods"][0] = {**stranger}

    assert reason(three_days, leave_out) == "2026-11-23: the target does not stand between these neighbours"

    def leave_room(proof: Document) -> None:
        proof["periods"][1]["right"] = None

    assert reason(three_days, leave_room) == "2026-11-24: between the neighbours there is room for the target"


def test_invented_neighbours(three_days: Log) -> None:
    """Between the lowest and the highest key each target would be absent."""

    def invent(proof: Document) -> None:
        proof["periods"][1]["right"]["key"] = b64encode(b"\xff" * 32).decode()

    assert reason(three_days, invent) == "2026-11-24: a leaf is not in the sealed tree of targets"


def test_an_event_that_seals_nothing(three_days: Log) -> None:
    """Data of a period in an event of another action, which anyone can record, is no period."""
    (newest,) = three_days.prove("claim:7").periods[2:]
    data = {**json.loads(newest["event"])["data"], "period": "2026-11-26", "targets": 0}
    data["first"] = data["end"]
    record_persist_and_commit(three_days.conn, AuditEvent(action="claim.changed", data=data))
    three_days.seal_on(MONDAY + timedelta(days=3))
    index = three_days.checkpoint.size - 1
    tiled = tree_of(three_days.conn, index + 1)
    path = [b64encode(each).decode() for each in tree.inclusion_proof(index, index + 1, tiled.node)]
    part = {"index": index, "event": three_days.texts(index)[0][1], "proof": path, "left": None, "right": None}
    expected = f"event {index} seals no period: it is claim.changed"
    assert reason(three_days, lambda proof: proof["periods"].append(part)) == expected


def test_another_event_in_the_place_of_a_seal(three_days: Log) -> None:
    """An event with another text is not in the log, and one with another action seals nothing."""

    def alter(proof: Document) -> None:
        proof["periods"][0]["event"] = proof["periods"][0]["event"].replace("2026-11-23", "2026-11-22")

    assert "which seals a period, is not in the signed log" in reason(three_days, alter)


def test_the_pack_has_all_events_and_no_others(three_days: Log) -> None:
    """An event that is missing from it, or that does not name the target, is found."""
    proof, checkpoint = three_days.prove("claim:7"), three_days.checkpoint
    indexes = check(proof, checkpoint).found
    assert indexes is not None
    events = three_days.texts(*indexes.indexes)
    assert check(proof, checkpoint, events).reason is None
    assert check(proof, checkpoint, events[1:]).reason == "event 0 is missing"
    assert check(proof, checkpoint, events[2:]).reason == "event 0 is missing, and 1 more"
    assert check(proof, checkpoint, [*events, *three_days.texts(1)]).reason == "event 1 does not name the target"
    assert check(proof, checkpoint, [*events, (indexes.end, events[0][1])]).reason is None
    other = three_days.texts(1)[0][1]
    assert check(proof, checkpoint, [(0, other), *events[1:]]).reason == "event 0 does not name the target"
    forged = (1, events[0][1])
    assert check(proof, checkpoint, [*events, forged]).reason == "event 1 is not among the sealed ones"


def without(key: bytes, tiles: Iterator[TargetTile]) -> Iterator[TargetTile]:
    """The tiles of a broken builder, which leaves out a target."""
    for tile in tiles:
        keys, digests = split_hashes(tile.keys), split_hashes(tile.digests)
        kept = [place for place, each in enumerate(keys) if each != key]
        yield TargetTile(tile.number, b"".join(keys[at] for at in kept), b"".join(digests[at] for at in kept))


def with_fewer_indexes(key: bytes, tiles: Iterator[TargetTile]) -> Iterator[TargetTile]:
    """The tiles of a broken builder, which leaves out an index of a target."""
    for tile in tiles:
        digests = [
            indexes_digest([0]) if each == key else digest
            for each, digest in zip(split_hashes(tile.keys), split_hashes(tile.digests), strict=True)
        ]
        yield TargetTile(tile.number, tile.keys, b"".join(digests))


@pytest.mark.parametrize("broken", [without, with_fewer_indexes])
def test_a_broken_builder(
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[bytes, Iterator[TargetTile]], Iterator[TargetTile]],
) -> None:
    """A tree without one target, or without one of its indexes, proves nothing, and building it again finds it."""
    sound = closing.sorted_tiles

    def tiles(conn: psycopg.Connection, period: Period) -> Iterator[TargetTile]:
        return broken(KEY, sound(conn, period))

    with monkeypatch.context() as patched:
        patched.setattr(closing, "sorted_tiles", tiles)
        log.day(MONDAY, "claim:7", "claim:8", "claim:7")
    with pytest.raises(LogDamaged, match=r"events of claim:7 in 2026-11-23 are not those that were sealed"):
        log.prove("claim:7")
    assert check(log.prove("claim:8"), log.checkpoint).reason is None
    (found,) = verify(log.conn).findings
    assert (found.name, "the targets of 2026-11-23" in found.message) == ("incomplete", True)


def test_an_event_deleted_after_its_day_was_sealed(three_days: Log) -> None:
    """A deletion by the owner, with all triggers off, is found when a proof is asked for."""
    tamper(three_days.conn, "DELETE FROM pgaudit.audit_log WHERE index = 0")
    with pytest.raises(LogDamaged, match="events of claim:7 in 2026-11-23"):
        three_days.prove("claim:7")


def test_an_event_hidden_from_a_further_target(three_days: Log) -> None:
    """The list of further targets, by which events are found, is in no hash: a proof is refused."""
    tamper(three_days.conn, "DELETE FROM pgaudit.event_target WHERE type = 'claim' AND id = '7'")
    with pytest.raises(LogDamaged, match="events of claim:7 in 2026-11-23 are not those that were sealed"):
        three_days.prove("claim:7")


def test_leaves_replaced_in_the_database(three_days: Log) -> None:
    """The owner who changes the stored tree as well has another root than the event."""
    zeros = "UPDATE pgaudit.target_tile SET root = decode(repeat('00', 32), 'hex') WHERE number = 0"
    tamper(three_days.conn, zeros)
    with pytest.raises(LogDamaged, match="targets of 2026-11-23 in the database are not those that were sealed"):
        three_days.prove("claim:7")


def test_an_event_deleted_before_its_day_is_sealed(log: Log) -> None:
    """No tree is built over a log with a gap."""
    log.append("claim:7", "claim:8")
    log.seal_on(MONDAY)
    log.append("claim:7")
    log.seal_on(MONDAY + timedelta(days=1))
    tamper(log.conn, "DELETE FROM pgaudit.audit_log WHERE index = 1")
    with pytest.raises(psycopg.errors.DataCorrupted, match="1 of the events 0 to 2 are missing from the log"):
        log.close(MONDAY + timedelta(days=1))


def test_a_day_sealed_twice(three_days: Log) -> None:
    """As when someone with the rights of a worker does so by hand: building all trees again names both events."""
    text = three_days.prove("claim:7").periods[0]["event"]
    record_persist_and_commit(three_days.conn, AuditEvent(action="audit.targets_sealed", data=json.loads(text)["data"]))
    (found,) = differences(three_days.conn)
    assert "2026-11-23 was sealed before, by event" in found.message


def test_an_event_whose_content_was_replaced(three_days: Log) -> None:
    """The owner who replaces the content of such an event gets a finding, and no error."""
    edit = "UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{data}', '{\"period\": 1}') WHERE action = '%s'"
    tamper(three_days.conn, edit % closing.ACTION)
    found = {each.message for each in verify(three_days.conn).findings if each.name == "incomplete"}
    assert len(found) == 3
    assert all("it does not say what it seals" in each for each in found)


def test_a_proof_of_another_form(three_days: Log) -> None:
    """Whatever is in the file, it is a reason and no other error."""
    others: list[object] = ["%", 1, None, ["%"], [1], {"a": 1}, "2026"]
    for wrong in others:
        for field in ("event", "index", "proof", "member"):

            def replace(proof: Document, field: str = field, wrong: object = wrong) -> None:
                proof["periods"][0][field] = wrong

            assert reason(three_days, replace)

        def replace_indexes(proof: Document, wrong: object = wrong) -> None:
            proof["periods"][0]["member"]["indexes"] = wrong

        assert reason(three_days, replace_indexes)


def test_a_character_of_code_0() -> None:
    """A proof for such a target could be one for another; none can be recorded."""
    with pytest.raises(Incomplete, match="no target has a character of code 0"):
        target_key("claim\0", "7")
