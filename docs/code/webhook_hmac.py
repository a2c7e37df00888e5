"""Verifies webhooks that are signed with a shared secret, by the package standardwebhooks."""

from collections.abc import Mapping
from typing import Any

from standardwebhooks.webhooks import Webhook


def event_of(headers: Mapping[str, str], body: bytes, secret: str) -> Any:
    """Returns what was sent; raises WebhookVerificationError if it is not ours, or old."""
    return Webhook(secret).verify(body, dict(headers))
