"""Packs whose policy asks for more than an Ed25519 key: ``verify-pack`` verifies it, ``verify.py`` says it cannot."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgaudit.sealing.notes import COSIGNATURE, MLDSA44, Checkpoint, Note, Signature, VerifierKey, merged
from pgaudit.sealing.packs.proof import Proof
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.signing import SigningKey, sign
from tests.sealing.packs.conftest import KEY
from tests.sealing.packs.verifiers import assert_refused, assert_verified, by_library, by_program, describe

QUANTUM = SigningKey(KEY.name, MLDSA44, bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32))
BROKER = VerifierKey("broker.example", COSIGNATURE, WITNESS.public_key().public_bytes_raw())
WITNESSED = f"log {KEY.verifier}\nwitness broker {BROKER}\ngroup all all broker\nquorum all\n"


def note_of(pack: Path) -> Note:
    """The checkpoint of a pack."""
    if (pack / "checkpoint").exists():
        return Note.parse((pack / "checkpoint").read_text())
    return Note.parse(Proof.parse(next(pack.glob("proofs/*")).read_text()).checkpoint)


def give(pack: Path, note: Note, policy: str) -> None:
    """Gives a pack these signatures, and this policy."""
    if (pack / "checkpoint").exists():
        (pack / "checkpoint").write_text(str(note))
    for file in pack.glob("proofs/*"):
        proof = Proof.parse(file.read_text())
        file.write_text(str(Proof(proof.index, proof.hashes, str(note))))
    (pack / "policy").write_text(policy)
    describe(pack, vkeys=[str(key) for key in Policy.parse(policy).logs])


def cosignature(text: str) -> Signature:
    """The signature of the witness, of a checkpoint that it saw in 2026."""
    stamp = 1_795_000_000
    signed = WITNESS.sign(f"cosignature/v1\ntime {stamp}\n{text}".encode())
    return Signature(BROKER.name, BROKER.key_id, stamp.to_bytes(8, "big") + signed)


def test_witnesses_that_the_policy_asks_for_are_verified(pack: Path) -> None:
    """By the command; the program verifies the rest, and does not say that all is well."""
    note = note_of(pack)
    give(pack, note, WITNESSED)
    code, reason = by_library(pack)
    assert (code, "lacks witnesses" in reason) == (1, True)
    give(pack, merged(note, [cosignature(note.text)]), WITNESSED)
    assert by_library(pack) == (0, "")
    code, printed = by_program(pack)
    assert (code, "asks for witnesses" in printed, "VERIFIED" in printed) == (2, True, False)
    give(pack, merged(note, [cosignature(note.text.replace("\n590\n", "\n591\n"))]), WITNESSED)
    code, reason = by_library(pack)
    assert (code, "broker.example is not valid" in reason) == (1, True)


def test_further_signatures_do_no_harm(pack: Path) -> None:
    """Of a witness that the reader does not know, and of a second key of the log."""
    note = note_of(pack)
    both = merged(note, [cosignature(note.text), *sign(Checkpoint.parse(note.text), [QUANTUM]).signatures])
    give(pack, both, (pack / "policy").read_text())
    assert_verified(pack)
    give(pack, both, str(Policy.of([KEY.verifier, QUANTUM.verifier])))
    assert_verified(pack)


def test_a_log_that_signs_with_ml_dsa_alone_needs_the_command(pack: Path) -> None:
    """The program has Ed25519 alone."""
    give(pack, sign(Checkpoint.parse(note_of(pack).text), [QUANTUM]), str(Policy.of([QUANTUM.verifier])))
    assert by_library(pack) == (0, "")
    code, printed = by_program(pack)
    assert (code, "see `pgaudit verify-pack`" in printed) == (2, True)


@pytest.mark.parametrize("line", ["quorum none", "logs x", "log x+00000000+AQ==", "log", "quorum"])
def test_a_policy_that_is_not_understood_verifies_nothing(pack: Path, tmp_path: Path, line: str) -> None:
    """Neither verifier guesses."""
    policy = tmp_path / "policy"
    policy.write_text(f"log {KEY.verifier}\nquorum none\n{line}\n")
    assert_refused(pack, "policy", policy, code=2)
    policy.write_text(f"log {KEY.verifier}\n")
    assert_refused(pack, "policy", policy, code=2)
