"""What every page has: headers, its files, problems in plain sentences, and text that stays text."""

import re
from html.parser import HTMLParser

import pytest

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.dashboard.assets import ASSETS
from tests.support.browser import Browser, browser_of
from tests.support.http import TOKEN

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</title></main><svg/onload=alert(1)>",
]


class Markup(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def forbidden(self) -> list[tuple[str, dict[str, str | None]]]:
        """Returns the elements that the policy would not let work, or that ask another host."""
        return [(tag, attributes) for tag, attributes in self.elements if is_forbidden(tag, attributes)]


def is_forbidden(tag: str, attributes: dict[str, str | None]) -> bool:
    """Returns whether the element has code or style in it, or an address that is not below the mount."""
    addresses = [value or "" for name, value in attributes.items() if name in {"href", "src", "action"}]
    return (
        tag in {"style", "iframe", "object", "embed", "base"}
        or (tag == "script" and "src" not in attributes)
        or any(name == "style" or name.startswith("on") for name in attributes)
        or any(not re.match("/(?!/)|#", address) for address in addresses)
    )


def test_every_answer_has_the_headers(browser: Browser) -> None:
    """Pages, redirects, problems, files and JSON: a strict policy, no sniffing, no referrer for other sites."""
    for path in ("/sample", "/login", "/nothing", "/failing", ASSETS.path("dashboard.css"), "/api/v1/health/live"):
        headers = browser.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy == POLICY, path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert headers["Cache-Control"] == ("public, max-age=31536000, immutable" if "static" in path else "no-store")


def test_files_are_served_at_the_hash_of_their_content(browser: Browser) -> None:
    """Each with its media type; another hash or name is not found, so that no cache keeps a wrong file."""
    types = {}
    for name in ("dashboard.css", "dashboard.js", "htmx.min.js", "icon.svg", "LICENSE-htmx.txt"):
        answer = browser.get(ASSETS.path(name))
        assert answer.status_code == 200
        types[name] = answer.headers["Content-Type"].partition(";")[0]
    assert list(types.values()) == ["text/css", "text/javascript", "text/javascript", "image/svg+xml", "text/plain"]
    right = ASSETS.path("dashboard.css")
    for wrong in (
        right.replace("/static/", "/static/0"),
        right.replace("dashboard.css", "nothing.css"),
        right.replace("dashboard.css", "dashboard.js"),
        right.replace("dashboard.css", "..%2fframe.py"),
    ):
        assert browser.get(wrong).status_code == 404, wrong


def test_no_file_asks_another_host_or_needs_what_the_policy_forbids(browser: Browser) -> None:
    """Style sheet and scripts load nothing; htmx evaluates nothing and adds no style."""
    for name in ("dashboard.css", "dashboard.js"):
        text = browser.get(ASSETS.path(name)).text
        assert "://" not in text
        assert "url(" not in text
        assert "eval(" not in text
    config = re.search(r'name="htmx-config" content=\'([^\']+)\'', browser.get("/sample").text)
    assert config
    for part in ('"includeIndicatorStyles": false', '"allowEval": false', '"allowScriptTags": false'):
        assert part in config[1]
    assert '"historyCacheSize": 0' in config[1]  # no page stays in the browser's storage


def test_the_check_of_markup_finds_what_it_should() -> None:
    """Else the tests below would say nothing."""
    for bad in (*HOSTILE[:2], *HOSTILE[4:], "<a href=//x>", "<a href='javascript:x'>", "<p style='x'>", "<style>"):
        assert Markup(f'<input value="{bad}">' if bad.startswith('"') else bad).forbidden(), bad


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_text(visitor: Browser, text: str) -> None:
    """Nothing that a request brings becomes markup, an attribute or code."""
    pages = [
        visitor.get("/login", params={"next": f"/{text}"}),
        visitor.log_in(token=text, next_page=f"/{text}"),
        visitor.get("/login", headers={"Cookie": f"pgaudit_theme={text}; pgaudit_tz={text}"}),
    ]
    visitor.log_in()
    pages.append(visitor.get("/sample", params={"title": text, "detail": text}))
    pages.append(visitor.get("/nothing/" + text.replace("/", "")))
    for page in pages:
        assert text not in page.text or "<" not in text
        assert len(page.text) > 500
        assert Markup(page.text).forbidden() == []
        assert "49{% raw" not in page.text


def test_a_page_that_does_not_exist_says_so(browser: Browser) -> None:
    """With the menu of the user; a program gets problem details."""
    answer = browser.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "There is nothing at this path." in answer.text
    assert "Log out" in answer.text
    for path, accept in (("/nothing", "*/*"), ("/api/v1/nothing", "text/html")):
        answer = browser.get(path, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "application/problem+json"
    answer = browser.client.delete("/sample")
    assert (answer.status_code, "DELETE is not for this path." in answer.text) == (405, True)


def test_an_error_of_ours_tells_nothing_of_the_inside(browser: Browser) -> None:
    """The log of the server has it; the page is short."""
    answer = browser.get("/failing")
    assert answer.status_code == 500
    assert "An unexpected error" in answer.text
    assert "secret of the server" not in answer.text


def test_pages_have_landmarks_and_a_title(visitor: Browser) -> None:
    """One h1, the language, a way past the menu, names for the landmarks."""
    for path in ("/login", "/nothing"):
        page = visitor.get(path).text
        assert '<html lang="en"' in page
        assert len(re.findall("<h1", page)) == 1
        assert re.search(r"<title>[^<]+ · Audit trail</title>", page)
        assert '<a class="skip" href="#main">' in page
        assert '<main id="main"' in page
        assert '<nav class="menu" aria-label="Pages">' in page


def test_the_theme_and_time_zone_of_the_browser_are_used(browser: Browser) -> None:
    """The script keeps both in cookies; other values count as none."""
    assert "data-theme=" not in browser.get("/sample").text
    assert ">2026-07-01 22:30:00</time>" in browser.get("/sample").text
    cookies = browser.cookies()
    for theme, zone, shown in (
        ("dark", "Europe/Berlin", "2026-07-02 00:30:00"),
        ("light", "America/New_York", "2026-07-01 18:30:00"),
        ("blue", "Nowhere/City", "2026-07-01 22:30:00"),
        ("", "../../etc/passwd", "2026-07-01 22:30:00"),
        ("", "/etc/passwd", "2026-07-01 22:30:00"),
    ):
        all_cookies = cookies | {"pgaudit_theme": theme, "pgaudit_tz": zone}
        header = "; ".join(f"{name}={value}" for name, value in all_cookies.items())
        browser.client.cookies.clear()
        page = browser.get("/sample", headers={"Cookie": header}).text
        assert ('data-theme="' in page) == (theme in {"dark", "light"})
        assert (
            f'<time datetime="2026-07-01T22:30:00.123456+00:00" title="2026-07-01 22:30:00.123456 UTC">{shown}</time>'
            in page
        )


def test_a_database_that_is_away_is_a_page_that_says_so() -> None:
    """503 in a sentence, without the address of the database."""
    with browser_of(create_app(Settings(dsn="host=127.0.0.1 port=1", admin_token=TOKEN))) as browser:
        browser.log_in()
        answer = browser.get("/looking")
        assert answer.status_code == 503
        assert "The audit trail cannot be reached" in answer.text
        assert "127.0.0.1" not in answer.text


def test_login_works_while_the_database_is_away() -> None:
    """The frame needs no database, so that a page can say what is wrong."""
    with browser_of(create_app(Settings(dsn="host=127.0.0.1 port=1", admin_token=TOKEN))) as browser:
        assert browser.log_in().status_code == 303
        assert browser.get("/sample").status_code == 200
