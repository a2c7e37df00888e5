"""Signatures of Standard Webhooks 1.0.0: HMAC-SHA256 (``v1``) and Ed25519 (``v1a``).

A key is a prefix and base64: ``whsec_`` for HMAC; ``whsk_`` for Ed25519, with the 32 bytes of the private key, or with
64, which end with the public key. The receiver has the same ``whsec_`` key, or the public key behind ``whpk_``.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgaudit.streams.outcomes import DestinationRefused

Sign = Callable[[bytes], bytes]
SYMMETRIC: Final = "whsec_"
ASYMMETRIC: Final = "whsk_"
KEY_BYTES: Final = 32
HMAC_KEY_BYTES: Final = range(24, 65)  # as the standard says


class Signer:
    """Signs messages with one key, or several while one replaces the other."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Parses the keys, the newest first.

        :raises DestinationRefused: one of them is malformed. The message does not quote it.
        """
        self._keys = [parse_key(key) for key in keys]

    def sign(self, identity: str, timestamp: int, body: bytes) -> str:
        """Returns the header ``webhook-signature``: a signature by each key."""
        content = f"{identity}.{timestamp}.".encode() + body
        return " ".join(f"{version},{b64encode(sign(content)).decode()}" for version, sign in self._keys)


def parse_key(text: str) -> tuple[str, Sign]:
    """Returns the version of a key's signatures, and the function that signs.

    :raises DestinationRefused: the text is not a key.
    """
    if text.startswith(SYMMETRIC):
        key = decoded(text.removeprefix(SYMMETRIC))
        if len(key) in HMAC_KEY_BYTES:
            return "v1", lambda content: hmac.digest(key, content, "sha256")
        raise DestinationRefused("a key that begins with whsec_ has 24 to 64 bytes in base64 behind it")
    if text.startswith(ASYMMETRIC):
        return "v1a", private_key(decoded(text.removeprefix(ASYMMETRIC))).sign
    raise DestinationRefused("a key for webhooks begins with whsec_ or whsk_")


def private_key(raw: bytes) -> Ed25519PrivateKey:
    """Returns the private key of its bytes.

    :raises DestinationRefused: they are none.
    """
    if len(raw) in {KEY_BYTES, 2 * KEY_BYTES}:
        key = Ed25519PrivateKey.from_private_bytes(raw[:KEY_BYTES])
        if raw[KEY_BYTES:] in {b"", key.public_key().public_bytes_raw()}:
            return key
    raise DestinationRefused("a key that begins with whsk_ has the 32 bytes of an Ed25519 key in base64 behind it")


def decoded(text: str) -> bytes:
    """Returns the bytes of base64, with or without padding; empty if the text is not base64."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Error, ValueError):
        return b""
