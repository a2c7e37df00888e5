"""Each statement and session of the pages for operators is run by a test."""

import re
from pathlib import Path

import pytest

from tests.docs.printed import RECIPES, ROOT, blocks

PAGES = [path.relative_to(ROOT / "docs").as_posix() for path in sorted((ROOT / "docs/operate").glob("*.md"))]
OTHERS = [
    "concepts/guarantees.md",
    "concepts/tree.md",
    "concepts/queue.md",
    "streams/index.md",
    "streams/archive.md",
    "reference/views.md",
    "reference/python.md",
]
CALL = re.compile(r'recipe\((?:"(?P<page>\S+?\.md)"|PAGE), "(?P<words>.+?)"\)')
# systemd and Kubernetes: tests/docs/test_files.py compares these commands with the files that they name.
COMPARED = {"operate/systemd.md": "systemctl daemon-reload", "operate/containers.md": "docker build"}


def executed(page: str) -> list[str]:
    """Returns the words with which tests of this directory select blocks of that page."""
    found = []
    for path in Path(__file__).parent.glob("test_*.py"):
        text = path.read_text()
        (own,) = re.findall(r'^PAGE = "(.+)"$', text, re.MULTILINE) or [None]
        found += [call["words"] for call in CALL.finditer(text) if (call["page"] or own) == page]
    return [*found, *([COMPARED[page]] if page in COMPARED else [])]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_each_recipe_of_a_page_is_run(page: str) -> None:
    """Every block of SQL and every console session of a page is selected by a test."""
    words = executed(page)
    of_page = [block for language in RECIPES for block in blocks(f"docs/{page}", language)]
    assert [block for block in of_page if not any(each in block for each in words)] == []
