"""Whatever is changed in a pack, both verifiers find it, and say in which file, and at which index."""

import shutil
from pathlib import Path

import psycopg
import pytest

from pgaudit.sealing import tree
from pgaudit.sealing.notes import ED25519, Checkpoint, Note
from pgaudit.sealing.packs.proof import Proof
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.signing import SigningKey, sign
from tests.sealing.packs.conftest import KEY, POLICY, export
from tests.sealing.packs.verifiers import (
    assert_refused,
    assert_verified,
    by_library,
    by_program,
    describe,
    describe_as,
    described,
)

OTHER = SigningKey(KEY.name, ED25519, bytes(32))


def files_of(pack: Path) -> list[Path]:
    """The files of a pack."""
    return sorted(path for path in pack.rglob("*") if path.is_file())


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The policy of someone who knows the key of the log."""
    path = tmp_path / "policy"
    path.write_text(f"# from the regulator's own files\n{POLICY}")
    return path


def test_a_pack_is_verified(pack: Path, policy: Path) -> None:
    """As it was written, with the policy that it has, and with that of the reader."""
    assert_verified(pack)
    assert_verified(pack, policy)
    assert "Not shown: who signed" in by_program(pack)[1]
    assert "Not shown: who signed" not in by_program(pack, policy)[1]


def test_any_changed_byte_of_any_file_is_found(pack: Path, policy: Path) -> None:
    """At the beginning, at the end, and between; also if a byte is added or lost."""
    for file in files_of(pack):
        data = file.read_bytes()
        positions = {
            0,
            1,
            len(data) // 5,
            len(data) // 3,
            len(data) // 2,
            len(data) * 3 // 4,
            len(data) - 2,
            len(data) - 1,
        }
        flips = [data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at in sorted(positions) for bit in (1, 32)]
        for changed in (*flips, data[:-1], data[1:], data + b"\n", data + data, b""):
            file.write_bytes(changed)
            assert_refused(pack, file.relative_to(pack).as_posix(), policy)
        file.write_bytes(data)
    assert_verified(pack, policy)


def test_any_missing_file_is_found(pack: Path) -> None:
    """Also if pack.json was written anew without it."""
    untouched = (pack / "pack.json").read_bytes()
    for file in files_of(pack):
        data, name = file.read_bytes(), file.relative_to(pack).as_posix()
        file.unlink()
        assert_refused(pack, f"{name}.*missing")
        if name != "pack.json":
            describe(pack)
            assert_refused(pack, f"{name}.*missing")
        file.write_bytes(data)
        (pack / "pack.json").write_bytes(untouched)
    assert_verified(pack)


@pytest.mark.parametrize("name", ["more.txt", "proofs/9.tlog-proof", "tile/0/003", "proofs/0007.tlog-proof", "no\nte"])
def test_any_further_file_is_found(pack: Path, name: str) -> None:
    """Also if pack.json lists it: it proves nothing."""
    (pack / name).parent.mkdir(exist_ok=True, parents=True)
    (pack / name).write_text("more")
    assert_refused(pack, f"{name!a}: this file does not belong".replace("\\", r"\\"))
    describe(pack)
    assert_refused(pack, "no event of the pack needs this file")


def test_an_altered_event_is_found_by_its_index(pack: Path) -> None:
    """Even if all hashes of the pack were made to fit."""
    events = pack / "events.ndjson"
    lines = events.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"user", b"USER")
    events.write_bytes(b"".join(lines))
    for _ in range(2):
        assert_refused(pack, f"events.ndjson, index {list(indexes_of(pack))[1]}: ")
        describe(pack)


def indexes_of(pack: Path) -> list[int]:
    """The indexes of a pack."""
    parts = [part.split("-") for part in described(pack)["indexes"].split(",")]
    return [index for first, *last in parts for index in range(int(first), int(last[0] if last else first) + 1)]


def test_exchanged_events_are_found(pack: Path) -> None:
    """Each stands at the index of the other."""
    events = pack / "events.ndjson"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    describe(pack)
    assert_refused(pack, f"events.ndjson, index {indexes_of(pack)[0]}: ")


def test_an_event_that_is_told_twice_is_found(pack: Path) -> None:
    """Whether pack.json has its index once or twice."""
    events = pack / "events.ndjson"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join([*lines, lines[-1]]))
    about = described(pack)
    describe(pack)
    assert_refused(pack, "no index for it|wrong one")
    describe(pack, indexes=f"{about['indexes']},{about['last_index']}", count=about["count"] + 1)
    assert_refused(pack, "no index for it|do not ascend")


def test_an_index_without_an_event_is_found(pack: Path) -> None:
    """It is named, whatever the count says."""
    about = described(pack)
    for count in (about["count"], about["count"] + 1):
        describe(pack, indexes=f"{about['indexes']},{about['last_index'] + 1}", count=count)
        assert_refused(pack, f"events.ndjson, index {about['last_index'] + 1}: this event is missing")


def test_an_index_beyond_the_checkpoint_is_found(pack: Path) -> None:
    """The last event is said to be one that is not signed yet."""
    indexes = [*indexes_of(pack)[:-1], 700]
    describe(pack, indexes=",".join(map(str, indexes)), last_index=700)
    assert_refused(pack, r"events.ndjson, line \d+: pack.json has no index for it")


def test_a_removed_event_is_found_unless_there_was_a_query(packs: dict[str, Path], tmp_path: Path) -> None:
    """Without a query, the indexes of a pack are dense up to its checkpoint."""
    for first, last in ((1, 589), (0, 588)):
        pack = Path(shutil.copytree(packs["whole"], tmp_path / f"{first}"))
        lines = (pack / "events.ndjson").read_bytes().splitlines(keepends=True)
        (pack / "events.ndjson").write_bytes(b"".join(lines[first : last + 1]))
        assert_refused(pack, r"events.ndjson")
        describe(pack, indexes=f"{first}-{last}", first_index=first, last_index=last, count=589)
        assert_refused(pack, "without a query")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"count": 2}, "pack.json: count"),
        ({"first_index": 6}, "line 1|first_index|no such|missing"),
        ({"last_index": 9}, "last_index"),
        ({"checkpoint_size": 589}, "checkpoint"),
        ({"indexes": "0"}, "events.ndjson|missing"),
        ({"vkeys": []}, "vkeys"),
    ],
)
def test_wrong_values_are_found(pack: Path, changes: dict[str, object], reason: str) -> None:
    """What pack.json says of the events and the checkpoint is compared with them."""
    describe(pack, **changes)
    assert_refused(pack, reason)


def test_exchanged_proofs_are_found(packs: dict[str, Path], tmp_path: Path) -> None:
    """A proof belongs to its index."""
    pack = Path(shutil.copytree(packs["proofs"], tmp_path / "pack"))
    one, two = (pack / f"proofs/{index}.tlog-proof" for index in (7, 507))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert_refused(pack, r"proofs/507.tlog-proof: its SHA-256|proofs/7.tlog-proof: its SHA-256")
    describe(pack)
    assert_refused(pack, r"proofs/7.tlog-proof: .*another index")
    one.write_bytes(second.replace(b"index 507\n", b"index 7\n"))
    describe(pack)
    assert_refused(pack, r"index 7: proofs/7.tlog-proof does not lead")


def test_a_proof_of_another_checkpoint_is_found(packs: dict[str, Path], tmp_path: Path) -> None:
    """Although it is genuine: a pack speaks of one state of the log."""
    pack = Path(shutil.copytree(packs["proofs"], tmp_path / "pack"))
    file = pack / "proofs/8.tlog-proof"
    proof = Proof.parse(file.read_text())
    leaf = tree.leaf_hash((pack / "events.ndjson").read_bytes().splitlines()[1])
    older = sign(Checkpoint(KEY.name, 9, tree.root_of_proof(leaf, 8, 9, proof.hashes[:1])), [KEY])
    file.write_text(str(Proof(8, proof.hashes[:1], str(older))))
    describe(pack)
    assert_refused(pack, "proofs/8.tlog-proof: .*another checkpoint")


def test_an_event_at_another_index_is_found(sealed: str, tmp_path: Path) -> None:
    """The last event has five hashes on its left, as the index 31 would have in a tree of 32: they lead to the root."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        pack = export(conn, tmp_path / "pack", "target:claim:89")
    (pack / "events.ndjson").write_bytes((pack / "events.ndjson").read_bytes().splitlines(keepends=True)[1])
    (pack / "proofs/89.tlog-proof").unlink()
    text = (pack / "proofs/589.tlog-proof").read_text()
    assert len(Proof.parse(text).hashes) == 5
    (pack / "proofs/31.tlog-proof").write_text(text.replace("index 589\n", "index 31\n"))
    (pack / "proofs/589.tlog-proof").unlink()
    describe(pack, indexes="31", first_index=31, last_index=31, count=1)
    assert_refused(pack, r"proofs/31.tlog-proof( does not lead|: the proof is too short)")


@pytest.mark.parametrize("change", ["one more", "one less", "none"])
def test_a_proof_of_another_length_is_found(packs: dict[str, Path], tmp_path: Path, change: str) -> None:
    """It does not lead to the root."""
    pack = Path(shutil.copytree(packs["proofs"], tmp_path / "pack"))
    file = pack / "proofs/8.tlog-proof"
    proof = Proof.parse(file.read_text())
    hashes = {"one more": (*proof.hashes, bytes(32)), "one less": proof.hashes[:-1], "none": ()}[change]
    file.write_text(str(Proof(8, hashes, proof.checkpoint)))
    describe(pack)
    assert_refused(pack, "proofs/8.tlog-proof")


def test_any_altered_hash_of_a_tile_is_found(packs: dict[str, Path], tmp_path: Path) -> None:
    """In complete and incomplete tiles of each level, though pack.json has the new hash of the file."""
    pack = Path(shutil.copytree(packs["tiles"], tmp_path / "pack"))
    for file in (path for path in files_of(pack) if "tile" in path.parts):
        data = file.read_bytes()
        for at in (0, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            describe(pack)
            assert_refused(pack, "tile|checkpoint: ")
        for changed in (data[:-32], data + bytes(32), data[:-1], b""):
            file.write_bytes(changed)
            describe(pack)
            assert_refused(pack, "tile/")
        file.write_bytes(data)
    describe(pack)
    assert_verified(pack)


def replaced_note(pack: Path, note: str) -> None:
    """Replaces the checkpoint of a pack, wherever it stands, and hides that."""
    if (pack / "checkpoint").exists():
        (pack / "checkpoint").write_text(note)
    for file in pack.glob("proofs/*"):
        proof = Proof.parse(file.read_text())
        file.write_text(str(Proof(proof.index, proof.hashes, note)))


def note_of(pack: Path) -> Note:
    """The checkpoint of a pack."""
    files = [pack / "checkpoint"] if (pack / "checkpoint").exists() else sorted(pack.glob("proofs/*"))
    return Note.parse(files[0].read_text().partition("\n\n")[2] if "proofs" in files[0].parts else files[0].read_text())


def test_a_checkpoint_that_another_key_has_signed_is_found(pack: Path, policy: Path) -> None:
    """By someone who has the key from elsewhere. The policy in the pack only says what the sender says."""
    forged = sign(Checkpoint.parse(note_of(pack).text), [OTHER])
    replaced_note(pack, str(forged))
    describe(pack)
    assert_refused(pack, "not signed by a key")
    (pack / "policy").write_text(str(Policy.of([OTHER.verifier])))
    describe(pack, vkeys=[str(OTHER.verifier)])
    assert_verified(pack)
    assert_refused(pack, "not signed by a key", policy)


def test_a_signature_of_another_statement_is_found(pack: Path) -> None:
    """The name and key are right; the signed text was another one."""
    note = note_of(pack)
    checkpoint = Checkpoint.parse(note.text)
    for other in (
        Checkpoint(KEY.name, checkpoint.size, bytes(32)),
        Checkpoint(KEY.name, checkpoint.size + 1, checkpoint.root),
    ):
        replaced_note(pack, str(Note(note.text, sign(other, [KEY]).signatures)))
        describe(pack)
        assert_refused(pack, "signature")
    signed = sign(Checkpoint("audit.example.com/other", checkpoint.size, checkpoint.root), [KEY])
    replaced_note(pack, str(signed))
    describe(pack)
    assert_refused(pack, "not signed by a key")


def test_another_root_is_found(pack: Path) -> None:
    """Signed by the right key: the events are not those of that checkpoint."""
    size = Checkpoint.parse(note_of(pack).text).size
    replaced_note(pack, str(sign(Checkpoint(KEY.name, size, bytes(32)), [KEY])))
    describe(pack)
    assert_refused(pack, "does not lead|do not lead")


@pytest.mark.parametrize(
    "text", ["", "{", "[1]\n", "null,\n", '{"pack_version": 2,\n', '{"pack_version": 1,\n', "[" * 100_000]
)
def test_what_is_no_description_cannot_be_checked(pack: Path, text: str) -> None:
    """Although its own hash fits."""
    describe_as(pack, text)
    assert by_library(pack)[0] == by_program(pack)[0] == 2


@pytest.mark.parametrize("changes", [{"pack_version": 2}, {"purged": [3]}, {"redacted": [3]}])
def test_packs_of_another_kind_cannot_be_checked(pack: Path, changes: dict[str, object]) -> None:
    """A verifier does not claim what it does not understand."""
    describe(pack, **changes)
    assert_refused(pack, "pack.json: .*version", code=2)


def test_a_pack_without_events_has_nothing_to_check(sealed: str, tmp_path: Path) -> None:
    """It is written, but verifying it is no success."""
    with psycopg.connect(sealed, autocommit=True) as conn:
        for kind in ("proofs", "tiles"):
            pack = export(conn, tmp_path / kind, "target:claim:none", kind)
            assert_refused(pack, "nothing to check", code=2)


def test_what_is_not_there_cannot_be_checked(tmp_path: Path, pack: Path) -> None:
    """Neither a pack nor a policy."""
    assert by_library(tmp_path / "none")[0] == by_program(tmp_path / "none")[0] == 2
    assert by_program(pack, tmp_path / "none")[0] == 2
    (tmp_path / "bad").write_text("log ?\nquorum none\n")
    assert by_library(pack, tmp_path / "bad")[0] == by_program(pack, tmp_path / "bad")[0] == 2
