"""A tab of a browser, and what it must never see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from shutil import which
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from pgaudit import Settings
from tests.support.http import TOKEN

PROGRAM = which("chromium") or "/usr/bin/chromium"
AXE = Axe()
CUT_OFF = """() => [...document.querySelectorAll('.table-scroll')]
    .filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@dataclass(frozen=True)
class Site:
    """A dashboard, its database, and the settings of the worker that signs the log."""

    dsn: str
    address: str
    signer: Settings


@dataclass
class Tab:
    """A page of a context of its own. ``faults``: errors in the console, and requests to other hosts."""

    page: Page
    site: Site
    faults: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, browser: Browser, site: Site, **options: Any) -> Iterator["Tab"]:
        """Opens a tab with options of Playwright's contexts; at its end, nothing may have gone wrong in it."""
        options = {"viewport": {"width": 1280, "height": 800}, "timezone_id": "UTC", "locale": "en-GB"} | options
        context = browser.new_context(base_url=site.address, **options)
        context.set_default_timeout(30_000)
        tab = cls(context.new_page(), site)
        tab.page.on("console", tab.on_console)
        tab.page.on("pageerror", lambda error: tab.faults.append(f"error: {error}"))
        tab.page.on("request", tab.on_request)
        try:
            yield tab
            assert not tab.faults, tab.faults
        finally:
            context.close()

    def on_console(self, message: ConsoleMessage) -> None:
        """Keeps warnings and errors, violations of the policy among them; not that a page is a refusal."""
        is_status = message.location["url"] == self.page.url and "responded with a status of 4" in message.text
        if message.type in {"error", "warning"} and not is_status:
            self.faults.append(f"{message.type}: {message.text}")

    def on_request(self, request: Request) -> None:
        """Keeps requests to another host."""
        if urlsplit(request.url).netloc != urlsplit(self.site.address).netloc:
            self.faults.append(f"request to {request.url}")

    def log_in(self) -> None:
        """Fills in the form of the login page."""
        self.page.goto("/login")
        self.page.get_by_label("Admin token").fill(TOKEN)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()

    def violations(self, *rules: str) -> list[str]:
        """Returns what axe-core finds, by all of its rules or these: rule and element of each violation."""
        options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
        found = AXE.run(self.page, options=options).response["violations"]
        return [f"{one['id']}: {', '.join(map(str, node['target']))}" for one in found for node in one["nodes"]]

    def overflow(self) -> int:
        """Returns by how many pixels the page is wider than the window."""
        content, window = self.page.evaluate(WIDTHS)
        return int(content) - int(window)

    def cut_off(self) -> list[str]:
        """Returns the names of tables that are wider than their place: on paper, nobody can scroll them."""
        return list(self.page.evaluate(CUT_OFF))
