"""The dashboard with a sample page, and browsers of it."""

from collections.abc import Iterator

import pytest

from pgaudit import Settings
from pgaudit.web import create_app
from pgaudit.web.dashboard import pages
from tests.support.browser import Browser, browser_of
from tests.web.dashboard import sample


@pytest.fixture(autouse=True)
def sample_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the sample page to each application that a test creates."""
    monkeypatch.setattr(pages, "PAGES", (*pages.PAGES, sample.routes))


@pytest.fixture
def visitor(settings: Settings) -> Iterator[Browser]:
    """A browser that is not logged in."""
    with browser_of(create_app(settings)) as browser:
        yield browser


@pytest.fixture
def browser(visitor: Browser) -> Browser:
    """A browser that has logged in."""
    assert visitor.log_in().status_code == 303
    return visitor
