"""Signs checkpoints, and verifies signatures: Ed25519, ML-DSA-44, and the cosignatures of witnesses."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from pgaudit.errors import InvalidKey, InvalidNote
from pgaudit.sealing.notes import (
    COSIGNATURE,
    ED25519,
    MLDSA44,
    Checkpoint,
    Note,
    Signature,
    VerifierKey,
    decode,
    encode,
)

PREFIX: Final = "PRIVATE+KEY+"
SEED_BYTES: Final = 32
TIME_BYTES: Final = 8
SUBTREE: Final = b"subtree/v1\n\0"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name. Its text is ``PRIVATE+KEY+NAME+HASH+SEED``, as Go's tools for notes write it."""

    name: str
    kind: int
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"

    @property
    def text(self) -> str:
        """The key as it stands in its file."""
        return f"{PREFIX}{self.name}+{self.verifier.key_id.hex()}+{encode(bytes([self.kind]) + self.seed)}"

    @property
    def verifier(self) -> VerifierKey:
        """The public key."""
        return VerifierKey(self.name, self.kind, PUBLIC[self.kind](self.seed))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the key of a text.

        :raises InvalidKey: it is no private key; the message does not quote it.
        """
        name, _, rest = text.strip().removeprefix(PREFIX).partition("+")
        key_id, _, secret = rest.partition("+")
        try:
            blob = decode(secret)
        except InvalidNote:
            blob = b""
        if not text.strip().startswith(PREFIX) or len(blob) != 1 + SEED_BYTES or blob[0] not in PUBLIC:
            raise InvalidKey(f"not a private key, {PREFIX}NAME+HASH+SEED: make one with `pgaudit keys new`")
        key = cls(name, blob[0], blob[1:])
        if key.verifier.key_id.hex() != key_id:
            raise InvalidKey("a private key whose hash does not match its name and seed")
        return key

    def sign(self, checkpoint: Checkpoint) -> Signature:
        """Returns the signature of a checkpoint. Ed25519's is always the same; ML-DSA's has the time."""
        key = self.verifier
        if self.kind == ED25519:
            blob = Ed25519PrivateKey.from_private_bytes(self.seed).sign(str(checkpoint).encode())
        else:
            stamp = int(time.time()).to_bytes(TIME_BYTES)
            blob = stamp + MLDSA44PrivateKey.from_seed_bytes(self.seed).sign(subtree_message(key, stamp, checkpoint))
        return Signature(key.name, key.key_id, blob)


PUBLIC: Final[dict[int, Callable[[bytes], bytes]]] = {
    ED25519: lambda seed: Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw(),
    MLDSA44: lambda seed: MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw(),
}


def subtree_message(key: VerifierKey, stamp: bytes, checkpoint: Checkpoint) -> bytes:
    """Returns what an ML-DSA-44 cosignature signs: the whole tree, as a subtree from leaf 0."""
    name, origin = key.name.encode(), checkpoint.origin.encode()
    start, end = (0).to_bytes(8), checkpoint.size.to_bytes(8)
    head = SUBTREE + bytes([len(name)]) + name + stamp + bytes([len(origin)]) + origin
    return head + start + end + checkpoint.root


def sign(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> Note:
    """Returns the signed note of a checkpoint, with a signature of each key."""
    return Note(str(checkpoint), tuple(key.sign(checkpoint) for key in keys))


def is_valid(key: VerifierKey, signature: Signature, note: Note) -> bool:
    """Returns whether the key has made this signature of the note."""
    stamp, blob = signature.blob[:TIME_BYTES], signature.blob[TIME_BYTES:]
    try:
        match key.kind:
            case 0x01:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature.blob, note.text.encode())
            case 0x04:
                message = f"cosignature/v1\ntime {int.from_bytes(stamp)}\n{note.text}".encode()
                Ed25519PublicKey.from_public_bytes(key.public).verify(blob, message)
            case 0x06:
                message = subtree_message(key, stamp, Checkpoint.parse(note.text))
                MLDSA44PublicKey.from_public_bytes(key.public).verify(blob, message)
            case _:
                return False
    except (InvalidSignature, ValueError):
        return False
    return True


def signers(note: Note, keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Returns which of the keys have signed the note.

    :raises InvalidNote: a signature that names one of the keys is not valid.
    """
    found: list[VerifierKey] = []
    for key in keys:
        for signature in note.signatures:
            if key.made(signature):
                if not is_valid(key, signature, note):
                    raise InvalidNote(f"the signature of {key.name} is not valid")
                found.append(key)
    return list(dict.fromkeys(found))


__all__ = ["COSIGNATURE", "ED25519", "MLDSA44", "SigningKey", "is_valid", "sign", "signers"]
