"""Forms: only those of the user's own pages are accepted."""

from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.access import RequestUserAccess
from tests.support.browser import Browser, browser_of

STALE = "This form is out of date"
OTHER_SITE = "This request comes from another site."
RETRY = "/api/v1/admin/queues/jobs/1/retry"


class NamedInHeader(AuthenticationBackend):
    """The application's own login, as far as these tests need it: the header has the name of the user."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Returns the user of a connection."""
        name = conn.headers.get("X-User")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def test_a_form_of_the_page_is_accepted(browser: Browser) -> None:
    """Its fields arrive, those that occur several times and empty ones, too."""
    fields = {"job": ["1", "2"], "note": "", "text": "ä & <b>"}
    answer = browser.client.post("/sample", data={"form_token": browser.form_token("/sample")} | fields)
    assert answer.status_code == 200
    sent = answer.json()
    assert sent["by"] == "admin"
    assert sent["fields"] | {"form_token": None} == {
        "form_token": None,
        "job": ["1", "2"],
        "note": [""],
        "text": ["ä & <b>"],
    }


@pytest.mark.parametrize("path", ["/sample", "/logout"])
def test_a_form_without_the_right_token_is_refused(browser: Browser, path: str) -> None:
    """The page says what to do; nothing is done."""
    token = browser.form_token("/sample")
    for wrong in ({"other": "1"}, {"form_token": ""}, {"form_token": token[:-1]}, {"form_token": f"{token}0"}):
        answer = browser.client.post(path, data=wrong)
        assert answer.status_code == 403, wrong
        assert STALE in answer.text
    assert browser.get("/sample").status_code == 200


def test_the_token_of_another_session_is_refused(browser: Browser) -> None:
    """An attacker's own page has a token, which is good for the attacker's session only."""
    theirs = browser.form_token("/sample")
    browser.client.cookies.clear()
    browser.log_in()
    assert browser.client.post("/sample", data={"form_token": theirs}).status_code == 403


def test_the_login_has_a_token_too(visitor: Browser) -> None:
    """Another site cannot log a browser in with the token of its own choice."""
    answer = visitor.client.post("/login", data={"token": "any"})
    assert (answer.status_code, STALE in answer.text) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_request_of_another_site_changes_nothing(browser: Browser, headers: Mapping[str, str]) -> None:
    """Not with a form of ours, and not by the API, which accepts the cookie of the session, too."""
    fields = {"form_token": browser.form_token("/sample")}
    for path in ("/sample", "/logout", "/login", RETRY):
        answer = browser.client.post(path, data=fields, headers=headers)
        assert (answer.status_code, OTHER_SITE in answer.text) == (403, True), path


def test_a_request_of_the_same_site_is_accepted(browser: Browser) -> None:
    """Browsers say so in Sec-Fetch-Site, or over plain HTTP in Origin."""
    fields = {"form_token": browser.form_token("/sample")}
    own = str(browser.client.base_url).rstrip("/")
    for headers in ({"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Origin": own}, {}):
        assert browser.client.post("/sample", data=fields, headers=headers).status_code == 200
        assert browser.client.post(RETRY, headers=headers).status_code == 404


def test_a_body_that_is_not_a_form_of_ours_is_refused(browser: Browser) -> None:
    """Another media type 415, a large one 413, one that cannot be read 400."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, headers, status in (
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"form_token=x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b"a=" + b"x" * 65_536, form, 413),
        (b"&".join(b"a=1" for _ in range(2_001)), form, 400),
        (b"a=%ff", form, 400),
        (b"\xff", form, 400),
    ):
        assert browser.client.post("/sample", content=body, headers=headers).status_code == status, body[:20]


def test_forms_work_with_the_sessions_of_the_application(settings: Settings) -> None:
    """Without a session of ours the token is bound to a cookie of its own and to the user."""
    access = RequestUserAccess(allows=lambda _user, _action: True)
    app = Starlette(
        routes=[Mount("/audit", create_app(settings, access))],
        middleware=[Middleware(AuthenticationMiddleware, backend=NamedInHeader())],
    )
    with browser_of(app, "/audit") as browser:
        browser.client.headers["X-User"] = "ada"
        token = browser.form_token("/sample")
        assert browser.client.post("/sample", data={"form_token": token}).json()["by"] == "ada"
        assert browser.client.post("/sample", data={"form_token": token}, headers={"X-User": "bob"}).status_code == 403
        browser.client.cookies.clear()
        assert browser.client.post("/sample", data={"form_token": token}).status_code == 403
        assert browser.get("/login").status_code == 404
