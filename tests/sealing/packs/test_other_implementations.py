"""What others say of our proofs and tiles, and the program of a pack on every Python that is here."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import proofbundle.tlogproof
import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from pgaudit.errors import InvalidNote
from pgaudit.sealing import tree
from pgaudit.sealing.notes import Checkpoint
from pgaudit.sealing.packs import verify
from pgaudit.sealing.packs.proof import Proof
from pgaudit.sealing.signing import sign
from pgaudit.sealing.tiles import tile_path
from tests.sealing.packs.conftest import KEY, POLICY

PROGRAM = Path(verify.__file__)
OLDEST = (3, 8)
ENTRY = (
    '{"id": "00000000-0000-7000-8000-00000000000%d", "action": "claim.approved",'
    ' "targets": [{"id": "7", "type": "claim"}]}'
)
VECTOR = """\
c2sp.org/tlog-proof@v1
index 3
c9iak+HdrSKG1kOrKH2Pou0U23FKo82MhTfKOq3eSJE=
WOwdKGKY2vmDkqeN/U29gqin+Ytq+ph9immWMgG6HXg=
UufHResa70Llgu9vCgYB1Ws38t1UP1VUVotbhCO8wd0=

audit.example.com/claims
5
FI6Ivg4UMXWl+lTDrxC11k9xp3t66bb81+SdeyY3kfQ=

— audit.example.com/claims nw86+1GAh4BT3NFFeLOdlGNcRNsWOLcIwuDnZc7Bn/NnnwWFxvjhJ+zg82QrwAztKByupUVqG0wWHYwZuTG7tJwdJww=
"""


def test_the_proof_of_the_vector_is_made_byte_for_byte() -> None:
    """Five leaves, the key whose seed is 00…1f, and the proof of the leaf 3."""
    leaves = [tree.leaf_hash((ENTRY % number).encode()) for number in range(5)]

    def node(level: int, number: int) -> bytes:
        return tree.complete_root(leaves[number << level : (number + 1) << level])

    note = sign(Checkpoint(KEY.name, 5, tree.root(5, node)), [KEY])
    proof = Proof(3, tuple(tree.inclusion_proof(3, 5, node)), str(note))
    assert str(proof) == VECTOR
    assert Proof.parse(VECTOR) == proof
    found = proofbundle.tlogproof.verify_tlog_proof(VECTOR, (ENTRY % 3).encode(), str(KEY.verifier))
    assert (found["ok"], found["index"], found["tree_size"]) == (True, 3, 5)


@pytest.mark.parametrize(
    "text",
    [
        VECTOR.replace("@v1", "@v2"),
        VECTOR.replace("index 3", "index 03"),
        VECTOR.replace("index 3", "index -3"),
        VECTOR.replace("index 3", "extra AAAA\nindex 3"),
        VECTOR.replace("c9iak", "c9ia"),
        VECTOR.replace("index 3\n", "index 3\nAAAA\n"),
        "",
    ],
)
def test_other_texts_are_no_proofs(text: str) -> None:
    """Nor are proofs with extra data, which nothing authenticates."""
    with pytest.raises(InvalidNote):
        Proof.parse(text)


def test_others_accept_the_proofs_of_a_pack(packs: dict[str, Path]) -> None:
    """Each with the line of its event, and with no other line."""
    lines = (packs["proofs"] / "events.ndjson").read_bytes().splitlines()
    for index, line in zip((7, 8, 507, 508), lines, strict=True):
        text = (packs["proofs"] / f"proofs/{index}.tlog-proof").read_text()
        found = proofbundle.tlogproof.verify_tlog_proof(text, line, str(KEY.verifier), expected_origin=KEY.name)
        assert (found["ok"], found["index"], found["tree_size"]) == (True, index, 590)
        assert not proofbundle.tlogproof.verify_tlog_proof(text, line + b" ", str(KEY.verifier))["ok"]


def test_others_read_the_tiles_of_a_pack(packs: dict[str, Path]) -> None:
    """As a log: its checkpoint, the root, and a proof that they compute for each event."""
    for name in ("tiles", "whole"):
        reader = TilesReader(LocalBackend(packs[name]))
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(Vkey.from_string(str(KEY.verifier)))
        assert (checkpoint.origin, checkpoint.size) == (KEY.name, 590)
        assert reader.calculate_root_hash() == checkpoint.root_hash
        lines = (packs[name] / "events.ndjson").read_bytes().splitlines()
        indexes = (7, 80, 507, 580) if name == "tiles" else range(590)
        for index, line in zip(indexes, lines, strict=True):
            reader.get_inclusion_proof(index, 590).check(tree.leaf_hash(line), checkpoint.root_hash)


def test_the_program_names_tiles_as_the_library_does(tmp_path: Path) -> None:
    """For numbers of any length, whole tiles and others."""
    for number in (0, 7, 999, 1_000, 67_000, 1_234_067, 1_000_000_001):
        for width in (256, 17):
            path = tmp_path / tile_path(3, number, width)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(32 * width))
            tiles = verify.Tiles.__new__(verify.Tiles)
            tiles.pack = verify.Pack(tmp_path)
            assert tiles.read(3, number, width) == [bytes(32)] * width


def interpreters() -> list[Path]:
    """The Pythons of this machine from 3.8 on: of the path, and of pyenv."""
    directories = [Path(each) for each in os.environ["PATH"].split(os.pathsep)]
    directories += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found = {Path(sys.executable).resolve()}
    for directory in directories:
        if "shims" not in directory.parts:
            found |= {path.resolve() for path in directory.glob("python3.*") if path.name[8:].isdigit()}
    return sorted(path for path in found if int(path.name.rpartition(".")[2]) >= OLDEST[1])


def test_the_program_is_written_in_the_oldest_python() -> None:
    """Python 3.8 can parse it, and it imports nothing but what every Python has."""
    program = ast.parse(PROGRAM.read_text(), feature_version=OLDEST)
    imports = [node for node in ast.walk(program) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_the_program_runs_on_each_python(python: Path, packs: dict[str, Path], tmp_path: Path) -> None:
    """Without site packages and variables; as the pack has it, and for a pack at another place."""
    policy = tmp_path / "policy"
    policy.write_text(POLICY)
    for pack in packs.values():
        for arguments in ([], ["--policy", str(policy), str(pack)], [str(pack), "--policy", str(policy)]):
            program = [str(python), "-I", "-S", "-W", "error", str(pack / "verify.py"), *arguments]
            result = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
            assert (result.returncode, result.stderr) == (0, ""), result.stdout
            assert result.stdout.endswith("VERIFIED.\n")
        assert (pack / "verify.py").read_bytes() == PROGRAM.read_bytes()
    usage = subprocess.run([python, "-I", "-S", PROGRAM, "--what"], capture_output=True, text=True, check=False)
    assert (usage.returncode, usage.stdout) == (2, "usage: python3 verify.py [--policy FILE] [PACK]\n")
