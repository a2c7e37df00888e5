"""Login and logout: who gets a session, how long it lasts, and where a login leads."""

import time
from http.cookies import SimpleCookie

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.access import RequestUserAccess
from pgaudit.web.dashboard import attempts
from tests.support.browser import Browser, browser_of
from tests.support.http import BEARER, TOKEN


class NobodyKnown(AuthenticationBackend):
    """The login of an application, before anybody has logged in."""

    async def authenticate(self, conn: HTTPConnection) -> None:
        """Returns None: the connection has no user."""


SESSION = "pgaudit_session"
OUTSIDE = ["https://evil.example/", "//evil.example", "/\\evil.example", "\\/evil.example", "javascript:alert(1)", "a"]
CONTROL = ["/\t/evil.example", "/a\nb", "/\x00", "/ä", ""]


def set_cookie(answer: httpx.Response, name: str) -> dict[str, str]:
    """Returns the value and the attributes of a cookie that an answer sets."""
    (morsel,) = [
        cookies[name] for header in answer.headers.get_list("Set-Cookie") if name in (cookies := SimpleCookie(header))
    ]
    return {"value": morsel.value} | {key: value for key, value in morsel.items() if value}


def test_a_browser_without_a_session_is_sent_to_the_login_and_back(visitor: Browser) -> None:
    """After the login the browser is where it wanted to be, with all parameters of the page."""
    answer = visitor.get("/sample?title=a%26b&detail=c")
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/login?next=%2Fsample%3Ftitle%3Da%2526b%26detail%3Dc",
    )
    page = visitor.get(answer.headers["Location"])
    assert 'name="next" value="/sample?title=a%26b&amp;detail=c"' in page.text
    answer = visitor.log_in(next_page="/sample?title=a%26b&detail=c")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sample?title=a%26b&detail=c")
    assert "<h1>a&amp;b</h1>" in visitor.get(answer.headers["Location"]).text


def test_a_program_gets_problem_details_instead_of_the_login(visitor: Browser) -> None:
    """Without text/html in Accept, the answer is 401 with the challenge; the bearer token opens pages, too."""
    answer = visitor.get("/sample", headers={"Accept": "*/*"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pgaudit"'
    assert visitor.get("/sample", headers={b"Accept": b"*/*"} | BEARER).status_code == 200


def test_htmx_is_told_to_load_the_login_page(visitor: Browser) -> None:
    """A part of a page does not become the login page; the whole browser goes there."""
    answer = visitor.get("/sample", headers={"HX-Request": "true", "Accept": "*/*"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login?next=%2F")


def test_the_cookie_of_a_session_is_protected(visitor: Browser) -> None:
    """Scripts cannot read it, other sites' forms do not send it, it ends, and it is for this mount only."""
    visitor.get("/login")
    cookie = set_cookie(visitor.log_in(), SESSION)
    value = cookie.pop("value")
    assert TOKEN not in value
    assert {key: text for key, text in cookie.items() if key not in {"httponly", "expires"}} == {
        "path": "/",
        "max-age": "28800",
        "samesite": "lax",
    }
    assert "httponly" in cookie


def test_over_https_the_cookie_is_secure(settings: Settings) -> None:
    """Behind a proxy that ends TLS, the scheme is what Uvicorn takes from X-Forwarded-Proto."""
    with browser_of(create_app(settings)) as browser:
        browser.client.headers["X-Forwarded-Proto"] = "https"
        answer = browser.get("/login")
        assert "secure" in answer.headers["Set-Cookie"].lower()


def test_a_login_has_a_session_id_of_its_own(visitor: Browser) -> None:
    """A cookie that an attacker has planted is not the one of the session, and opens nothing."""
    planted = "attackers.aaaaaa.bbbbbbbb"
    visitor.client.cookies.set(SESSION, planted, domain="127.0.0.1", path="/")
    assert visitor.get("/sample").status_code == 303
    first = set_cookie(visitor.log_in(), SESSION)["value"]
    assert first.partition(".")[0] != planted.partition(".")[0]
    visitor.client.cookies.clear()
    second = set_cookie(visitor.log_in(), SESSION)["value"]
    assert first.partition(".")[0] != second.partition(".")[0]


def test_a_changed_cookie_opens_nothing(browser: Browser) -> None:
    """Id, time and signature belong together."""
    identity, moment, signature = browser.cookies()[SESSION].split(".")
    other = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    for changed in (
        f"{identity}x.{moment}.{signature}",
        f"{identity}.{moment[:-1]}x.{signature}",
        f"{identity}.{moment}.{other}",
        f"{identity}.{moment}",
        "",
        "ü",
    ):
        answer = httpx.get(
            browser.client.base_url.join("/sample"),
            headers={b"Accept": b"text/html", b"Cookie": f"{SESSION}={changed}".encode()},
            trust_env=False,
        )
        assert answer.status_code == 303, changed


def test_another_token_ends_all_sessions(browser: Browser, settings: Settings) -> None:
    """The key of the cookies is derived from the token; with the same token a restarted server keeps them."""
    cookie = browser.cookies()[SESSION]
    for token, status in ((TOKEN, 200), ("another-token-of-the-tests", 303)):
        restarted = settings.model_copy(update={"admin_token": SecretStr(token)})
        with browser_of(create_app(restarted)) as other:
            other.client.cookies.set(SESSION, cookie)
            assert other.get("/sample").status_code == status


def test_a_session_ends_after_its_lifetime(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server decides, not the browser that keeps the cookie."""
    assert browser.get("/sample").status_code == 200
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 28_799)
    assert browser.get("/sample").status_code == 200
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 28_802)
    assert browser.get("/sample").status_code == 303


def test_logout_ends_the_session_of_the_browser(browser: Browser) -> None:
    """It takes a form: a link of another site cannot log anybody out."""
    assert browser.get("/logout").status_code == 405
    answer = browser.post("/logout", {}, page="/sample")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert SESSION not in browser.cookies()
    assert browser.get("/sample").status_code == 303


def test_a_logged_in_browser_needs_no_login(browser: Browser) -> None:
    """The login page leads on."""
    answer = browser.get("/login?next=/sample")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sample")


@pytest.mark.parametrize("page", OUTSIDE + CONTROL)
def test_a_login_never_leads_to_another_site(visitor: Browser, page: str) -> None:
    """What is not a path of the dashboard leads to its first page."""
    assert visitor.log_in(next_page=page).headers["Location"] == "/"
    assert visitor.get("/login", params={"next": page}).headers["Location"] == "/"


def test_a_wrong_token_opens_no_session(visitor: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """The page says so, and does not repeat what was typed; the log says from where."""
    for wrong in (TOKEN[:-1], f"{TOKEN}x", "", "wrong<b>"):
        answer = visitor.log_in(token=wrong)
        assert answer.status_code == 403
        assert "This is not the admin token." in answer.text
        assert "wrong<b>" not in answer.text
        assert "wrong&lt;b&gt;" not in answer.text
        assert SESSION not in visitor.cookies()
    logged = [record.getMessage() for record in caplog.records if "wrong token" in record.getMessage()]
    assert logged == ["a log-in to the dashboard from 127.0.0.1 had a wrong token"] * 4


def test_five_wrong_tokens_close_the_login_for_a_minute(visitor: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then not even the right token is looked at; another client is not kept waiting."""
    assert [visitor.log_in(token="wrong").status_code for _ in range(6)] == [403] * 5 + [429]
    answer = visitor.log_in()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert f"Try again in {answer.headers['Retry-After']} seconds." in answer.text
    monkeypatch.setattr(attempts, "WITHIN_SECONDS", 0.0)
    assert visitor.log_in().status_code == 303


def test_clients_behind_a_trusted_proxy_are_told_apart(settings: Settings) -> None:
    """X-Forwarded-For counts from a trusted proxy only."""
    trusting = Settings(admin_token=TOKEN, trusted_proxies="127.0.0.1")
    for given, last in ((trusting, 303), (settings, 429)):
        with browser_of(create_app(given), proxy_headers=False) as browser:
            browser.client.headers["X-Forwarded-For"] = "192.0.2.1"
            assert [browser.log_in(token="wrong").status_code for _ in range(6)][-1] == 429
            browser.client.headers["X-Forwarded-For"] = "192.0.2.2"
            assert browser.log_in().status_code == last


def test_without_a_token_the_login_says_what_to_configure() -> None:
    """403 on the pages, the login and its form; an empty token logs nobody in."""
    with browser_of(create_app(Settings(admin_token=""))) as visitor:
        answers = [visitor.get("/sample"), visitor.get("/login"), visitor.client.post("/login", data={"token": ""})]
        for answer in answers:
            assert answer.status_code == 403
            assert "the server has no PGAUDIT_ADMIN_TOKEN" in answer.text
            assert "openssl rand -hex 16" in answer.text


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        ("/login/", "/login/?next=%2Faudit%2Fsample%3Fa%3D1"),
        ("https://sso.example/?app=x", "https://sso.example/?app=x&next=%2Faudit%2Fsample%3Fa%3D1"),
    ],
)
def test_a_browser_is_sent_to_the_login_of_the_application(settings: Settings, login_url: str, expected: str) -> None:
    """With the page to come back to, as the browser sees it; ours is not there."""
    access = RequestUserAccess(allows=lambda _user, _action: True, login_url=login_url)
    app = Starlette(
        routes=[Mount("/audit", create_app(settings, access))],
        middleware=[Middleware(AuthenticationMiddleware, backend=NobodyKnown())],
    )
    with browser_of(app, "/audit") as browser:
        answer = browser.get("/sample?a=1")
        assert (answer.status_code, answer.headers["Location"]) == (303, expected)
        assert browser.get("/login").status_code == 404
