"""Makes a pair of keys for webhooks."""

from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_keys() -> tuple[str, str]:
    """Returns the private key, for the worker, and the public one, for the receiver."""
    key = Ed25519PrivateKey.generate()
    private, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    return "whsk_" + b64encode(private).decode(), "whpk_" + b64encode(public).decode()
