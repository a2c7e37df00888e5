"""Sessions of the dashboard: a signed cookie that a login with the token sets."""

import secrets
from hashlib import sha256
from typing import Final

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

from pgaudit.web.mount import root_of

COOKIE: Final = "pgaudit_session"


class Sessions:
    """Opens and checks sessions. Nothing is stored: another token, from which the key is derived, ends all of them.

    :param token: the token that a login needs.
    :param lifetime: seconds after a login until the session ends.
    """

    def __init__(self, token: str, lifetime: int) -> None:
        self._signer = TimestampSigner(token.encode(), salt=COOKIE, key_derivation="hmac", digest_method=sha256)
        self._lifetime = lifetime

    def is_open(self, request: HTTPConnection) -> bool:
        """Returns whether the request has the cookie of a session that has not ended."""
        try:
            self._signer.unsign(request.cookies.get(COOKIE, ""), self._lifetime)
        except BadSignature:
            return False
        return True

    def open(self, request: HTTPConnection, response: Response) -> None:
        """Sets the cookie of a new session: its id is random, whatever cookie the request had.

        SameSite is Lax, so that a link to an event opens from a ticket or a mail. Nothing is changed by a GET.
        """
        signed = self._signer.sign(secrets.token_urlsafe(16)).decode()
        set_cookie(request, response, COOKIE, signed, self._lifetime)

    @staticmethod
    def close(request: HTTPConnection, response: Response) -> None:
        """Deletes the cookie."""
        set_cookie(request, response, COOKIE, "", 0)


def set_cookie(request: HTTPConnection, response: Response, name: str, value: str, lifetime: int | None = None) -> None:
    """Sets a cookie for the paths below the mount that scripts cannot read.

    :param lifetime: in seconds; until the browser is closed by default.
    """
    response.set_cookie(
        name,
        value,
        max_age=lifetime,
        path=root_of(request.scope) + "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
