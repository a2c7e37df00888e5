"""The signatures of ``verify.py``: the vectors of RFC 8032, another implementation, and what is refused."""

import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pgaudit.errors import InvalidPolicy
from pgaudit.sealing.notes import ED25519, VerifierKey
from pgaudit.sealing.packs.verify import BASE, ORDER, PRIME, ZERO, is_same, is_signature, point_of, times
from pgaudit.sealing.policy import Policy

# RFC 8032, section 7.1: tests 1, 2 and 3; public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
]
# The eight points of small order, and the other encodings of theirs that a careless decoder accepts.
SMALL = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_standard_are_accepted(public: str, message: str, signature: str) -> None:
    """And none of them after a bit was changed, in the signature, the message or the key."""
    key, text, signed = (bytes.fromhex(each) for each in (public, message, signature))
    assert is_signature(key, text, signed)
    assert not is_signature(key, text + b"\0", signed)
    for bit in range(0, 512, 37):
        changed = (int.from_bytes(signed, "little") ^ (1 << bit)).to_bytes(64, "little")
        assert not is_signature(key, text, changed)
        changed = (int.from_bytes(key, "little") ^ (1 << bit % 256)).to_bytes(32, "little")
        assert not is_signature(changed, text, signed)


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_a_second_form_of_a_signature_is_refused(public: str, message: str, signature: str) -> None:
    """With s + ORDER in place of s; and signatures and keys of another length."""
    key, text, signed = (bytes.fromhex(each) for each in (public, message, signature))
    larger = int.from_bytes(signed[32:], "little") + ORDER
    assert not is_signature(key, text, signed[:32] + larger.to_bytes(32, "little"))
    for wrong in (signed[:-1], signed + b"\0", b""):
        assert not is_signature(key, text, wrong)
    assert not is_signature(key + b"\0", text, signed)
    assert not is_signature(key[:-1], text, signed)


@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_a_key_for_which_anyone_can_sign_is_refused(public: bytes) -> None:
    """By the program, and as a key of a policy. With the first one, R = s * BASE signs every message."""
    encoded = encoded_base_times(5)
    assert not is_signature(public, b"any message", encoded + (5).to_bytes(32, "little"))
    with pytest.raises(InvalidPolicy, match="anyone can sign"):
        Policy.of([VerifierKey("log", ED25519, public)])


def encoded_base_times(number: int) -> bytes:
    """Returns the encoding of a multiple of the base point."""
    point = times(number, BASE)
    inverse = pow(point.z, PRIME - 2, PRIME)
    x, y = point.x * inverse % PRIME, point.y * inverse % PRIME
    return (y + (x % 2 << 255)).to_bytes(32, "little")


def test_without_the_check_such_a_key_would_have_signed() -> None:
    """The forged signature fulfils the equation: the key is what has to be refused."""
    assert is_same(times(5, BASE), point_of(encoded_base_times(5)))
    assert is_same(times(8, point_of(SMALL[6])), ZERO)
    Ed25519PublicKey.from_public_bytes(SMALL[0]).verify(encoded_base_times(5) + (5).to_bytes(32, "little"), b"any")


def test_it_agrees_with_another_implementation() -> None:
    """On signatures, and on changed ones."""
    chance = random.Random(8032)
    for _ in range(40):
        key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        message = chance.randbytes(chance.randrange(200))
        public, signed = key.public_key().public_bytes_raw(), key.sign(message)
        assert is_signature(public, message, signed)
        at = chance.randrange(64)
        changed = signed[:at] + bytes([signed[at] ^ 1 << chance.randrange(8)]) + signed[at + 1 :]
        with pytest.raises(InvalidSignature):
            key.public_key().verify(changed, message)
        assert not is_signature(public, message, changed)
