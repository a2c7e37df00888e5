"""Bearer tokens: who may use a route."""

import hmac
from http import HTTPStatus

from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection


class RequireToken(HTTPBearer):
    """A dependency of the routes that need a token; the OpenAPI document names the setting that holds it."""

    def __init__(self, name: str, token: SecretStr | None) -> None:
        self._name = name
        self._variable = f"PGAUDIT_{name.upper()}_TOKEN"
        self._token = token.get_secret_value() if token else ""
        super().__init__(scheme_name=name, description=self._variable)

    async def __call__(self, request: HTTPConnection) -> None:
        """Returns if the header holds the token.

        :raises HTTPException: 403 when the server has no token, 401 when the header does not hold it.
        """
        if not self._token:
            detail = f"The {self._name} routes are closed: the server has no {self._variable}."
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            detail = f"Send the {self._name} token: Authorization: Bearer TOKEN."
            raise unauthorized(detail, 'Bearer realm="pgaudit"')
        # In constant time, so that the time says nothing about how much of a guess was right. Starlette
        # decodes headers as Latin-1; these are the bytes that were sent.
        if not hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode()):
            raise unauthorized(f"This is not the {self._name} token.", 'Bearer realm="pgaudit", error="invalid_token"')


def unauthorized(detail: str, challenge: str) -> HTTPException:
    """Returns a 401 error that says what the client has to send."""
    return HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
