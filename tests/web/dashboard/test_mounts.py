"""The dashboard below any mount: addresses, cookies and redirects are right, and paths have one meaning."""

from collections.abc import Callable
from http.client import HTTPConnection
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from pgaudit import Settings
from pgaudit.web import create_app
from tests.support.browser import browser_of
from tests.support.http import BEARER, client_of


def mounted_at(path: str) -> Callable[[ASGIApp], ASGIApp]:
    """Returns a function that mounts an application there."""
    return lambda app: Starlette(routes=[Mount(path, app=app)])


def in_fastapi(app: ASGIApp) -> ASGIApp:
    """Mounts the application in a FastAPI application."""
    host = FastAPI()
    host.mount("/audit", app)
    return host


MOUNTS = [
    pytest.param(lambda app: app, "", {}, "", id="alone"),
    pytest.param(mounted_at("/audit"), "/audit", {}, "/audit", id="mounted"),
    pytest.param(mounted_at("/a/b/"), "/a/b", {}, "/a/b", id="mounted deeper"),
    pytest.param(in_fastapi, "/audit", {}, "/audit", id="in FastAPI"),
    pytest.param(lambda app: app, "", {"root_path": "/audit"}, "/audit", id="behind a proxy that strips the prefix"),
    pytest.param(lambda app: app, "", {"root_path": "/audit/"}, "/audit", id="with a slash at the end"),
    pytest.param(mounted_at("/b"), "/b", {"root_path": "/a"}, "/a/b", id="mounted, and behind such a proxy"),
    pytest.param(mounted_at("/a c"), "/a%20c", {}, "/a%20c", id="with a blank"),
]


@pytest.mark.parametrize(("mount", "path", "options", "seen"), MOUNTS)
def test_the_dashboard_works_below_any_mount(
    settings: Settings, mount: Callable[[ASGIApp], ASGIApp], path: str, options: dict[str, str], seen: str
) -> None:
    """Every address of a page is below the mount as the browser sees it, and the cookie is for the mount.

    ``path`` is the mount as the server sees it, ``seen`` as the browser does.
    """
    with browser_of(mount(create_app(settings)), path, **options) as browser:
        login = browser.get("/sample").headers["Location"]
        assert login == f"{seen}/login?next=%2Fsample"
        page = browser.get("/login")
        addresses = addresses_of(page.text)
        assert addresses
        assert all(address.startswith(f"{seen}/") and not address.startswith("//") for address in addresses), addresses
        for address in addresses:
            if "/static/" in address:
                assert browser.get(address.removeprefix(seen)).status_code == 200, address
        assert f"; Path={seen}/;" in page.headers["Set-Cookie"]
        token = browser.form_token("/login")
        cookies = {"pgaudit_form": browser.cookies().get("pgaudit_form", "")}
        fields = {"form_token": token, "token": settings.admin_token.get_secret_value(), "next": "/sample"}  # type: ignore[union-attr]
        browser.client.cookies.clear()
        answer = browser.client.post("/login", data=fields, headers={"Cookie": cookie_header(cookies)})
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{seen}/sample")


def cookie_header(cookies: dict[str, str]) -> str:
    """Returns the header of cookies, which httpx would not send: it does not know the path that the proxy strips."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def addresses_of(page: str) -> list[str]:
    """Returns the addresses that a page links to, loads and sends forms to."""
    parts = page.replace("action=", "href=").replace("src=", "href=").split('href="')[1:]
    return [address for part in parts if not (address := part.partition('"')[0]).startswith("#")]


@pytest.mark.parametrize("mount", [mounted_at("/audit"), in_fastapi])
def test_the_mount_without_a_slash_leads_to_it(settings: Settings, mount: Callable[[ASGIApp], ASGIApp]) -> None:
    """People type /audit."""
    with browser_of(mount(create_app(settings))) as browser:
        answer = browser.get("/audit")
        assert answer.status_code == 307
        assert httpx.URL(answer.headers["Location"]).path == "/audit/"


@pytest.mark.anyio
async def test_an_empty_path_leads_to_the_first_page(settings: Settings) -> None:
    """A server that strips the prefix may leave nothing of the path."""
    transport = httpx.ASGITransport(create_app(settings), root_path="/audit")
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        answer = await client.get("/audit")
        assert (answer.status_code, answer.headers["Location"]) == (307, "/audit/")


@pytest.mark.parametrize(
    "path",
    [
        "//sample",
        "/sample//7",
        "/sample/../sample/7",
        "/sample/./7",
        "/sample/%2e%2e/7",
        "/sample/%2E/7",
        "/sample/..",
        "/sample/7%00",
        "/sample/7%0a8",
        "/sample/a\\b",
        "/sample%2f7",
        "/events%2F1",
        "/static/",
        "/Sample",
    ],
)
def test_a_path_with_two_meanings_is_not_found(settings: Settings, path: str) -> None:
    """Proxies and browsers merge slashes and drop dots, so that the server would see another page than they do."""
    with browser_of(create_app(settings)) as browser:
        browser.log_in()
        connection = HTTPConnection("127.0.0.1", browser.client.base_url.port, timeout=30)  # sends paths as they are
        cookie = cookie_header(browser.cookies())
        connection.request("GET", path, headers={"Accept": "text/html", "Cookie": cookie})
        answer = connection.getresponse()
        page = answer.read().decode()
        connection.close()
        assert answer.status == 404
        assert "There is nothing at this path." in page


@pytest.mark.parametrize("path", ["/api%2fv1/audit/events", "/api/v1/audit%2Fevents", "/api/v1/admin%2fqueues/stats"])
def test_a_path_of_the_api_that_a_proxy_would_not_know_is_not_found(settings: Settings, path: str) -> None:
    """An encoded slash belongs to the id of a target, and stands nowhere else."""
    with client_of(create_app(settings)) as client:
        client.headers.update(BEARER)
        assert client.get(path).status_code == 404
        assert client.get(f"/api/v1/audit/timeline/policy/{quote('a/b', safe='')}").status_code == 200


def test_an_id_may_have_any_character(settings: Settings) -> None:
    """Encoded slashes and dots belong to the id of a target."""
    with browser_of(mounted_at("/audit")(create_app(settings)), "/audit") as browser:
        browser.log_in()
        for encoded, identity in (
            ("https%3A%2F%2Fexample.org%2Fa", "https://example.org/a"),
            ("a%2Fb%3Fc%23d%20e", "a/b?c#d e"),
            ("..a", "..a"),
            ("NORTH%5Cada", "NORTH\\ada"),
            ("%C3%A4%25", "ä%"),
        ):
            assert browser.get(f"/sample/{encoded}").json() == {"id": identity}
