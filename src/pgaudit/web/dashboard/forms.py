"""Forms: the token that shows that a form is from a page of its user, and the fields that a browser sends."""

import hmac
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import parse_qs

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgaudit.settings import Settings
from pgaudit.web.sessions import COOKIE as SESSION_COOKIE
from pgaudit.web.sessions import set_cookie
from pgaudit.web.tokens import secret_of

FORM_COOKIE: Final = "pgaudit_form"
TOKEN_FIELD: Final = "form_token"  # noqa: S105 - its name
MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
MAX_BYTES: Final = 65_536
MAX_FIELDS: Final = 2_000
STALE: Final = "This form is out of date, or not from this dashboard. Load the page again and repeat what you did."


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form."""

    fields: dict[str, list[str]]

    def text(self, name: str, default: str = "") -> str:
        """Returns the value of a field, without blanks around it."""
        return self.fields.get(name, [default])[-1].strip()

    def texts(self, name: str) -> list[str]:
        """Returns all values of a field, such as those of the boxes that are checked."""
        return self.fields.get(name, [])


@dataclass(frozen=True, slots=True)
class Binding:
    """The cookie that forms are bound to: the session's, or one for forms where sessions are the application's."""

    value: str
    is_new: bool = False

    @classmethod
    def of(cls, request: Request) -> Self:
        """Returns the binding of a request; a new one if it has none."""
        value = request.cookies.get(SESSION_COOKIE) or request.cookies.get(FORM_COOKIE)
        return cls(value) if value else cls(secrets.token_urlsafe(24), is_new=True)

    def token(self, key: bytes, user: str) -> str:
        """Returns the token of a user's forms."""
        return hmac.digest(key, f"{self.value}\n{user}".encode(), "sha256").hex()

    def keep(self, request: Request, response: Response) -> None:
        """Sets the cookie if it is new."""
        if self.is_new:
            set_cookie(request, response, FORM_COOKIE, self.value)


def key_of(settings: Settings) -> bytes:
    """Returns the key of the tokens: the same in all processes of a server, and made of its secrets."""
    secrets_of_server = f"{secret_of(settings.admin_token)}\n{settings.dsn}"
    return hmac.digest(secrets_of_server.encode(), b"pgaudit form", "sha256")


def token_field(token: str) -> Markup:
    """Returns the hidden field that every form has."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN_FIELD, token)


async def read(request: Request, key: bytes, user: str) -> Form:
    """Returns the form that a user has sent.

    :raises HTTPException: 403 without the token of this user's pages; 413 and 415 for what is not a form of ours.
    """
    form = await parse(request)
    given, binding = form.text(TOKEN_FIELD), Binding.of(request)
    if binding.is_new or not hmac.compare_digest(given.encode(), binding.token(key, user).encode()):
        raise HTTPException(HTTPStatus.FORBIDDEN, STALE)
    return form


async def parse(request: Request) -> Form:
    """Returns the fields of a request.

    :raises HTTPException: 413 for a body that is too large, 415 for one of another type, 400 for one that is broken.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send the form as {MEDIA_TYPE}.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"A form has at most {MAX_BYTES:,} bytes.")
    try:
        return Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form cannot be read.") from error
