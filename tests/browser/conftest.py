"""For each file of tests a server of the dashboard and a browser, which stay up for all of them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from pgaudit import Settings
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from pgaudit.web import create_app
from pgaudit.web.server import listening, serving
from tests.browser import story
from tests.browser.tab import PROGRAM, Site, Tab
from tests.support.http import TOKEN

expect.set_options(timeout=30_000)  # milliseconds: how long a slow machine may take


@pytest.fixture(scope="module")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The dashboard over a log of about 150 events, served below a mount."""
    with fresh_database(server) as database, listening("127.0.0.1", 0) as listener:
        story.tell(database.dsn)
        signer = story.sealed(database.dsn, tmp_path_factory.mktemp("signer"))
        settings = Settings(dsn=database.dsn, admin_token=TOKEN, spool_dir=tmp_path_factory.mktemp("spool"))
        with serving(create_app(settings), listener):
            yield Site(database.dsn, f"http://127.0.0.1:{listener.getsockname()[1]}", signer)


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Browser]:
    """Debian's Chromium. The worker of the site needs an event loop, and has ended before: so does Playwright."""
    assert site
    assert Path(PROGRAM).exists(), "install Debian's package chromium"
    with sync_playwright() as playwright, closing(playwright.chromium.launch(executable_path=PROGRAM)) as browser:
        yield browser


@pytest.fixture(scope="module")
def login(site: Site, chromium: Browser) -> StorageState:
    """The cookies of somebody who has logged in."""
    with Tab.opened(chromium, site) as tab:
        tab.log_in()
        return tab.page.context.storage_state()


@pytest.fixture
def tab(site: Site, chromium: Browser, login: StorageState) -> Iterator[Tab]:
    """A tab of somebody who is logged in, of 1,280 pixels."""
    with Tab.opened(chromium, site, storage_state=login) as tab:
        yield tab


@pytest.fixture
def conn(site: Site) -> Iterator[psycopg.Connection]:
    """A connection to the database of the site."""
    with psycopg.connect(site.dsn) as conn:
        yield conn
