"""The pictures of the documentation: PGAUDIT_SCREENSHOTS names the directory into which they are written."""

import os
from pathlib import Path
from struct import unpack

import psycopg
import pytest

from tests.browser import past, story
from tests.browser.tab import Tab

pytestmark = pytest.mark.chromium

# As in production: the anchors of the story are a directory of the test, and one that does not answer.
NAMES = """
    UPDATE pgaudit.anchor SET name = CASE WHEN starts_with(name, 'file:') THEN 's3://example-audit-anchors/claims'
                                          ELSE 'witness+https://witness.example.org' END,
           size = (SELECT max(size) FROM pgaudit.checkpoint), anchored_at = now(), failed_at = NULL, error = NULL
"""
VERIFIED = "SELECT pgaudit.note_verification(0, max(size), true, 'anchored', 0, '[]') FROM pgaudit.checkpoint"
PICTURES = {
    "dashboard-overview.png": "/",
    "dashboard-integrity.png": "/integrity",
    "dashboard-events.png": "/events?q=action:claim.* tenant:north,south -outcome:failure",
}


def test_pictures_are_taken(tab: Tab, conn: psycopg.Connection, tmp_path: Path) -> None:
    """Of 1,280 by 800 pixels, without a page that is still loading or has gone wrong."""
    past.give(conn)
    story.seal_and_anchor(conn, tab.site.signer)
    conn.execute(NAMES)
    conn.execute(VERIFIED)
    directory = Path(os.environ.get("PGAUDIT_SCREENSHOTS", tmp_path))
    for name, path in PICTURES.items():
        tab.page.goto(path)
        tab.page.get_by_text("Live", exact=True).wait_for()
        tab.page.wait_for_load_state("networkidle")
        tab.page.screenshot(path=directory / name, animations="disabled")
        assert unpack(">II", (directory / name).read_bytes()[16:24]) == (1280, 800)
