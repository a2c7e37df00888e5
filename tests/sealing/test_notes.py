"""Signed notes: the vector that was verified by other implementations, and what is refused."""

import pytest
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint as ScalesCheckpoint

from pgaudit.errors import InvalidKey, InvalidNote
from pgaudit.sealing import tree
from pgaudit.sealing.notes import ED25519, MLDSA44, Checkpoint, Note, VerifierKey, decode
from pgaudit.sealing.signing import SigningKey, is_valid, sign, signers

NAME = "audit.example.com/claims"
KEY = SigningKey(NAME, ED25519, bytes(range(32)))
QUANTUM = SigningKey(NAME, MLDSA44, bytes(range(32)))
ENTRY = (
    '{"id": "00000000-0000-7000-8000-00000000000%d", "action": "claim.approved",'
    ' "targets": [{"id": "7", "type": "claim"}]}'
)
VKEY = "audit.example.com/claims+9f0f3afb+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
NOTE = """\
audit.example.com/claims
5
FI6Ivg4UMXWl+lTDrxC11k9xp3t66bb81+SdeyY3kfQ=

— audit.example.com/claims nw86+1GAh4BT3NFFeLOdlGNcRNsWOLcIwuDnZc7Bn/NnnwWFxvjhJ+zg82QrwAztKByupUVqG0wWHYwZuTG7tJwdJww=
"""


def test_the_checkpoint_of_the_vector_is_made_byte_for_byte() -> None:
    """The root, the public key and the signed note are those that other implementations have accepted."""
    leaves = [tree.leaf_hash((ENTRY % number).encode()) for number in range(5)]
    root = tree.root(5, lambda level, number: tree.complete_root(leaves[number << level : (number + 1) << level]))
    assert str(KEY.verifier) == VKEY
    assert str(sign(Checkpoint(NAME, 5, root), [KEY])) == NOTE


@pytest.mark.parametrize("key", [KEY, QUANTUM])
def test_others_verify_what_is_signed_here(key: SigningKey) -> None:
    """Another implementation of the standard accepts both kinds of signatures."""
    note = sign(Checkpoint(NAME, 5, bytes(32)), [key])
    ScalesCheckpoint.from_text(str(note)).verify(Vkey.from_string(str(key.verifier)))
    assert signers(Note.parse(str(note)), [VerifierKey.parse(str(key.verifier))]) == [key.verifier]


@pytest.mark.parametrize("key", [KEY, QUANTUM])
def test_a_signature_over_another_root_is_refused(key: SigningKey) -> None:
    """A known key whose signature fails is an error, not an unknown signature."""
    (signature,) = sign(Checkpoint(NAME, 5, bytes(32)), [key]).signatures
    forged = Note(str(Checkpoint(NAME, 5, bytes(31) + b"\x01")), (signature,))
    assert not is_valid(key.verifier, signature, forged)
    with pytest.raises(InvalidNote, match="not valid"):
        signers(forged, [key.verifier])


def test_unknown_keys_are_passed_over() -> None:
    """Signatures of keys that the verifier does not know say nothing."""
    other = SigningKey(NAME, ED25519, bytes(32))
    note = sign(Checkpoint(NAME, 5, bytes(32)), [KEY, QUANTUM])
    assert signers(note, [other.verifier]) == []
    assert signers(note, [other.verifier, QUANTUM.verifier]) == [QUANTUM.verifier]


@pytest.mark.parametrize("byte", range(0, len(NOTE.encode()), 7))
def test_each_byte_of_a_note_counts(byte: int) -> None:
    """A note with another byte is another note: not read, not signed by the key, or refused."""
    changed = bytearray(NOTE.encode())
    changed[byte] ^= 1
    try:
        note = Note.parse(changed.decode())
        Checkpoint.parse(note.text)
        assert signers(note, [KEY.verifier]) == []
    except (InvalidNote, UnicodeDecodeError):
        return


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "log\n5\n", NOTE.replace("— ", "- "), NOTE[:-1], NOTE.replace("5\n", "5\n\x00\n"), NOTE + "more\n"],
)
def test_other_texts_are_no_notes(text: str) -> None:
    """Without an empty line, a dash, the last line break, or with control characters."""
    with pytest.raises(InvalidNote):
        Note.parse(text)


@pytest.mark.parametrize("line", ["05", "-1", "five", "5 ", "1" * 21])
def test_a_size_is_a_plain_number(line: str) -> None:
    """One number has one form."""
    with pytest.raises(InvalidNote):
        Checkpoint.parse(str(Checkpoint(NAME, 5, bytes(32))).replace("\n5\n", f"\n{line}\n"))


def test_only_canonical_base64_is_read() -> None:
    """Or two notes would have the same meaning."""
    assert decode("AAA=") == bytes(2)
    for text in ("AAB=", "AAA", "A A=", "AAA=\n", "é"):
        with pytest.raises(InvalidNote):
            decode(text)


def test_a_private_key_is_read_as_it_was_written_and_never_quoted() -> None:
    """What is wrong with a key is said without its text."""
    assert SigningKey.parse(KEY.text + "\n") == KEY
    assert SigningKey.parse(QUANTUM.text) == QUANTUM
    assert "PRIVATE" not in repr(KEY)
    for text in ("", KEY.text[:-8], KEY.text.replace("9f0f3afb", "9f0f3afc"), KEY.text.replace("PRIVATE+", "")):
        with pytest.raises(InvalidKey) as refused:
            SigningKey.parse(text)
        assert KEY.text.rpartition("+")[2][:20] not in str(refused.value)
