"""A receiver of webhooks: it takes what we have signed, and keeps each event once."""

import os
import time
from base64 import b64decode
from collections.abc import Mapping

import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LONGEST_DELAY = 300  # seconds: what is older may be a replay by somebody who has listened


def is_signed(headers: Mapping[str, str], body: bytes, public_key: str) -> bool:
    """Whether one of the signatures is by that key, and new."""
    identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > LONGEST_DELAY:
        return False
    content = f"{identity}.{timestamp}.".encode() + body
    key = Ed25519PublicKey.from_public_bytes(b64decode(public_key.removeprefix("whpk_")))
    return any(
        verifies(key, b64decode(signature), content)
        for version, _, signature in (part.partition(",") for part in headers.get("webhook-signature", "").split())
        if version == "v1a"
    )


def verifies(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether a signature is one of this content by that key."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


async def receive(request: Request) -> Response:
    """Stores the event before it answers: after 204 it is not sent again."""
    body = await request.body()
    if not is_signed(request.headers, body, os.environ["AUDIT_PUBLIC_KEY"]):
        return Response(status_code=401)  # pauses the stream: the keys differ
    async with await psycopg.AsyncConnection.connect(os.environ["INBOX_DSN"]) as conn:
        await conn.execute(
            "INSERT INTO audit_inbox (id, event) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [request.headers["webhook-id"], body.decode()],
        )
    return Response(status_code=204)


app = Starlette(routes=[Route("/audit", receive, methods=["POST"])])
