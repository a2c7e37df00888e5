"""Bearer tokens: who may use a route."""

import hmac
from http import HTTPStatus
from typing import Final

from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

CHALLENGE: Final = 'Bearer realm="pgaudit"'


class RequireToken(HTTPBearer):
    """A dependency of the routes that need a token; the OpenAPI document names the setting that holds it."""

    def __init__(self, name: str, token: SecretStr | None) -> None:
        self._name = name
        self._token = secret_of(token)
        super().__init__(scheme_name=name, description=variable(name))

    async def __call__(self, request: HTTPConnection) -> None:
        """Returns if the header holds the token.

        :raises HTTPException: 403 when the server has no token, 401 when the header does not hold it.
        """
        check_bearer(request, self._name, self._token)


def check_bearer(request: HTTPConnection, name: str, token: str) -> None:
    """Returns if the header ``Authorization`` holds the token.

    :param name: of the token: ``admin`` or ``metrics``.
    :raises HTTPException: 403 when there is no token, 401 when the header does not hold it.
    """
    if not token:
        raise HTTPException(HTTPStatus.FORBIDDEN, closed(name))
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized(f"Send the {name} token: Authorization: Bearer TOKEN.", CHALLENGE)
    # Starlette decodes headers as Latin-1; these are the bytes that were sent.
    if not is_token(given.strip().encode("latin-1"), token):
        raise unauthorized(f"This is not the {name} token.", f'{CHALLENGE}, error="invalid_token"')


def is_token(given: bytes, token: str) -> bool:
    """Returns whether it is the token, in constant time: the time says nothing about how much of a guess was right."""
    return hmac.compare_digest(given, token.encode())


def secret_of(token: SecretStr | None) -> str:
    """Returns the text of a token; empty without one."""
    return token.get_secret_value() if token else ""


def variable(name: str) -> str:
    """Returns the environment variable of a token."""
    return f"PGAUDIT_{name.upper()}_TOKEN"


def closed(name: str) -> str:
    """Returns why the routes of a token are closed, and what to configure."""
    if name == "admin":
        return (
            f"The dashboard and the admin routes are closed: the server has no {variable(name)} and no other access. "
            "Make a token with: openssl rand -hex 16."
        )
    return f"The {name} routes are closed: the server has no {variable(name)}."


def unauthorized(detail: str, challenge: str) -> HTTPException:
    """Returns a 401 error that says what the client has to send."""
    return HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
