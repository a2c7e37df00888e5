"""Both verifiers find each change of ``completeness.json``, also when all hashes of the pack are made to fit."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgaudit.sealing import tree
from pgaudit.sealing.completeness import complete, prove
from pgaudit.sealing.completeness.offline import target_key
from pgaudit.sealing.completeness.stored_periods import StoredTree, sealed_periods
from pgaudit.sealing.packs import verify
from tests.sealing.completeness.conftest import Log
from tests.sealing.packs.complete.conftest import Document, change
from tests.sealing.packs.verifiers import BOTH, assert_refused, assert_verified, describe


def test_any_changed_byte_of_the_proof_is_found(made: dict[str, Path], tmp_path: Path) -> None:
    """By its hash, each of them."""
    pack = Path(shutil.copytree(made["7-proofs"], tmp_path / "pack"))
    path = pack / "completeness.json"
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert_refused(pack, r"completeness\.json: its SHA-256 is not the one in pack\.json")
    path.write_bytes(data)
    assert_verified(pack)


def values_in(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yields the path of each text and number of a JSON document."""
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from values_in(value, (*path, key))
    elif document is not None:
        yield path


def value_at(document: Any, path: Any) -> Any:
    """Returns what is at a path of a JSON document."""
    for key in path:
        document = document[key]
    return document


def replaced(value: str | int) -> list[Any]:
    """Other values."""
    if isinstance(value, int):
        return [value + 1, value - 1, value + 0.5, str(value), None]
    first = "B" if value[:1] == "A" else "A"
    return [first + value[1:], value[:-1], "", None]


@pytest.mark.parametrize("claim", [7, 9])
def test_any_changed_value_of_the_proof_is_found(made: dict[str, Path], tmp_path: Path, claim: int) -> None:
    """Although all hashes of the pack were made to fit."""
    pack = Path(shutil.copytree(made[f"{claim}-tiles"], tmp_path / "pack"))
    proof = json.loads((pack / "completeness.json").read_text())
    paths = list(values_in(proof))
    assert len(paths) > 30
    for path in paths:
        *way, last = path
        for other in replaced(value_at(proof, path)):

            def replace(document: Document, way: list[str | int] = way, last: Any = last, other: Any = other) -> None:
                value_at(document, way)[last] = other

            change(pack, replace)
            for verifier in BOTH:
                code, said = verifier(pack, None)
                assert (code != 0, bool(said)) == (True, True), (verifier.__name__, path, other)
            (pack / "completeness.json").write_text(json.dumps(proof))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", "[" * 100_000, '{"completeness_version": 2}', "\udcff"])
def test_a_proof_of_another_form_shows_nothing(pack: Path, text: str) -> None:
    """It is refused with a reason, and no other error."""
    (pack / "completeness.json").write_bytes(text.encode(errors="surrogateescape"))
    describe(pack)
    for verifier in BOTH:
        code, said = verifier(pack, None)
        assert (code in (1, 2), bool(said)) == (True, True)


@pytest.fixture(scope="module")
def hidden(log: Log) -> tuple[str, StoredTree, int]:
    """A claim of 2026, the tree of that year, and the claim's place in it: an even one, with others on both sides."""
    year = StoredTree(log.conn, sealed_periods(log.conn, log.checkpoint.size)[0])
    for number in range(100, 400):
        place = year.position(target_key("claim", str(number)))
        if place % 2 == 0 and 0 < place < year.size - 1:
            return f"claim:{number}", year, place
    raise AssertionError("no claim is at such a place")


def denied(pack: Path, target: str, log: Log, left: Any, right: Any) -> Path:
    """A pack without events that says of a target that it is not between two leaves of the first year."""
    document = prove(log.conn, target).document
    document["periods"][0] = {**document["periods"][0], "left": left, "right": right}
    del document["periods"][0]["member"]
    (pack / "completeness.json").write_text(json.dumps(document))
    describe(pack, query=f"target:{target}")
    return pack


@pytest.fixture
def empty(made: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a pack without events."""
    return Path(shutil.copytree(made["9-tiles"], tmp_path / "empty"))


def test_neighbours_with_a_gap_are_found(empty: Path, log: Log, hidden: tuple[str, StoredTree, int]) -> None:
    """The target stands in it, whatever their places are said to be: also between two numbers."""
    target, year, place = hidden
    for shift, reason in ((0, "room for the target"), (0.5, r"completeness\.json|cannot be read")):
        left, right = complete.neighbour(year, place - 1), complete.neighbour(year, place + 1)
        assert left
        assert right
        left["position"] += shift
        right["position"] -= shift
        for code_and_said in [verifier(denied(empty, target, log, left, right), None) for verifier in BOTH]:
            assert code_and_said[0] in (1, 2)
            assert re.search(reason, code_and_said[1])


def test_neighbours_elsewhere_are_found(empty: Path, log: Log, hidden: tuple[str, StoredTree, int]) -> None:
    """Beside the target, or with the target as one of them."""
    target, year, place = hidden
    for first in (place - 2, place - 1, place):
        left, right = complete.neighbour(year, first), complete.neighbour(year, first + 1)
        assert_refused(denied(empty, target, log, left, right), "the target does not stand between")


def test_a_leaf_read_with_a_shorter_key_is_found(empty: Path, log: Log, hidden: tuple[str, StoredTree, int]) -> None:
    """The same bytes, and so the same hash: the leaf of the target would be a neighbour of the target."""
    target, year, place = hidden
    key, digest = year.leaf(place)
    left = complete.neighbour(year, place)
    assert left
    left |= {"key": complete.b64(key[:31]), "digest": complete.b64(key[31:] + digest)}
    pack = denied(empty, target, log, left, complete.neighbour(year, place + 1))
    assert_refused(pack, "a leaf is not in the|32 bytes")


def test_an_index_without_an_event_is_found(empty: Path) -> None:
    """Also in a pack that says that it has none."""
    describe(empty, indexes="7")
    assert_refused(empty, r"events\.ndjson, index 7: this event is missing")


def test_places_beyond_a_tree_are_none() -> None:
    """Although the hashes on the way up from another place lead to its root."""
    leaves = [tree.leaf_hash(bytes([number])) for number in range(4)]
    siblings = [complete.b64(leaves[0]), complete.b64(verify.node(leaves[2], leaves[3]))]
    root = tree.list_root(leaves)
    assert verify.leads_to(root, leaves[1], 1, 4, siblings)
    for place in (-3, 5, 9):
        assert not verify.leads_to(root, leaves[1], place, 4, siblings)
