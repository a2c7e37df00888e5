"""Signed notes, checkpoints and their keys, by C2SP ``signed-note``, ``tlog-checkpoint`` and ``tlog-cosignature``."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Self

from pgaudit.errors import InvalidNote

DASH: Final = "— "
ED25519: Final = 0x01
COSIGNATURE: Final = 0x04  # Ed25519 with a time, by a witness
MLDSA44: Final = 0x06  # ML-DSA-44 with a time
ID_BYTES: Final = 4
MOST_SIGNATURES: Final = 100
NAME: Final = re.compile(r"[^\s+]+")
SIZE: Final = re.compile(r"0|[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: the name of the key, its first four bytes of hash, and the signature."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{DASH}{self.name} {encode(self.key_id + self.blob)}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Returns the signature of a line.

        :raises InvalidNote: the line has another form.
        """
        name, found, text = line.removeprefix(DASH).partition(" ")
        blob = decode(text) if found else b""
        if not line.startswith(DASH) or not NAME.fullmatch(name) or len(blob) <= ID_BYTES:
            raise InvalidNote(f"not a line with a signature: {line[:80]!r}")
        return cls(name, blob[:ID_BYTES], blob[ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a line break, and the signatures below it."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{signature}\n" for signature in self.signatures)

    @classmethod
    def parse(cls, note: str) -> Self:
        """Returns the parts of a note.

        :raises InvalidNote: it is no signed note.
        """
        text, found, lines = note.rpartition("\n\n")
        if not found or not lines.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f\x7f]", note):
            raise InvalidNote("not a signed note: a text, an empty line, and lines with signatures")
        signatures = tuple(Signature.parse(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MOST_SIGNATURES:
            raise InvalidNote(f"a note with {len(signatures)} signatures; at most {MOST_SIGNATURES} are read")
        return cls(text + "\n", signatures)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its name, how many leaves it has, and the root of their tree."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{encode(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the checkpoint of a note's text. Further lines, which the standard discourages, are refused.

        :raises InvalidNote: the text has another form.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not SIZE.fullmatch(lines[1]):  # noqa: PLR2004 - as __str__
            raise InvalidNote("not a checkpoint: lines with the log's name, its size, and the root of its tree")
        root = decode(lines[2])
        if len(root) != sha256().digest_size:
            raise InvalidNote(f"the root of a checkpoint has 32 bytes, not {len(root)}")
        return cls(lines[0], int(lines[1]), root)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name: a ``vkey``."""

    name: str
    kind: int
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode(bytes([self.kind]) + self.public)}"

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:ID_BYTES]

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Returns the key of a vkey, ``NAME+HASH+KEY``.

        :raises InvalidNote: it has another form, or its parts do not belong together.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, text = rest.partition("+")
        blob = decode(text)
        if not NAME.fullmatch(name) or not blob:
            raise InvalidNote(f"not a vkey, NAME+HASH+KEY: {vkey[:80]!r}")
        key = cls(name, blob[0], blob[1:])
        if key.key_id.hex() != key_id:
            raise InvalidNote(f"a vkey whose hash does not match its name and key: {vkey[:80]!r}")
        return key

    def made(self, signature: Signature) -> bool:
        """Returns whether the signature names this key; that it is valid, ``signing.is_valid`` says."""
        return signature.name == self.name and signature.key_id == self.key_id


def encode(data: bytes) -> str:
    """Returns base64 with padding."""
    return b64encode(data).decode()


def decode(text: str) -> bytes:
    """Returns the bytes of base64 with padding, in its only canonical form.

    :raises InvalidNote: the text has another form.
    """
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidNote(f"not base64: {text[:80]!r}") from None
    if encode(data) != text:
        raise InvalidNote(f"not canonical base64: {text[:80]!r}")
    return data


def merged(note: Note, signatures: Iterable[Signature]) -> Note:
    """Returns the note with further signatures; a signature of the same key is replaced."""
    new = list(signatures)
    keys = {(signature.name, signature.key_id) for signature in new}
    kept: Sequence[Signature] = [old for old in note.signatures if (old.name, old.key_id) not in keys]
    return replace(note, signatures=(*kept, *new))
