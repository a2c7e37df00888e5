"""The bearer token of the admin routes."""

import hmac
from collections.abc import Callable
from http import HTTPStatus

from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Response]


def guarded(endpoint: Endpoint, token: SecretStr | None) -> Endpoint:
    """Returns the endpoint behind the token."""

    def checked(request: Request) -> Response:
        check(request.headers.get("Authorization", ""), token)
        return endpoint(request)

    return checked


def check(authorization: str, token: SecretStr | None) -> None:
    """Returns when the header holds the token.

    :raises HTTPException: 403 when there is no token that it could hold, 401 when it does not hold it.
    """
    expected = token.get_secret_value() if token else ""
    if not expected:
        raise HTTPException(HTTPStatus.FORBIDDEN, "The admin routes are closed: the server has no PGAUDIT_ADMIN_TOKEN.")
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized("Send the admin token: Authorization: Bearer TOKEN.", 'Bearer realm="pgaudit"')
    # In constant time: how long it takes does not tell how much of a guess was right. Starlette
    # decodes headers as Latin-1; these are the bytes that were sent.
    if not hmac.compare_digest(given.strip().encode("latin-1"), expected.encode()):
        raise unauthorized("This is not the admin token.", 'Bearer realm="pgaudit", error="invalid_token"')


def unauthorized(detail: str, challenge: str) -> HTTPException:
    """Returns the refusal, with what the client should have sent."""
    return HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
