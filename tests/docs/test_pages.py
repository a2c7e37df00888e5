"""The pages of the documentation and the files beside the README."""

import re
from pathlib import Path

import pytest

from docs.generate import generate
from pgaudit._schema import state

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FRONT = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- generated: .+? -->.*?<!-- end -->", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
HEAD = re.compile(r"^(.*\|.*)\n *\|[ :|-]+\|$", re.MULTILINE)
CODE_PATH = re.compile(r"`((?:src|migrations|tests|benchmarks|docs)/[\w/.]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_generated_parts_of_a_page_are_current(page: Path) -> None:
    """The tables and programs of a page are those of the code; `make docs` renews them."""
    text = page.read_text()
    assert generate(text) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs_of_a_page_are_generated(page: Path) -> None:
    """A program in a page is taken from a file that the tests run."""
    assert BLOCK.findall(GENERATED.sub("", page.read_text())) == []


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=lambda page: page.stem)
def test_each_column_of_a_table_has_a_heading(page: Path) -> None:
    """A table is read by its headings, aloud too."""
    heads = HEAD.findall(page.read_text())
    assert [head for head in heads if not all(cell.strip() for cell in head.strip().strip("|").split("|"))] == []


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=lambda page: page.stem)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """Each relative link works in a checkout, without building the site."""
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", FRONT, ids=lambda page: page.stem)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    """A file or directory that ARCHITECTURE or CONTRIBUTING names is there."""
    named = CODE_PATH.findall(page.read_text())
    assert [path for path in named if "*" not in path and not (ROOT / path).exists()] == []


def test_pages_name_the_newest_revision() -> None:
    """The commands of the upgrade page work as they are printed."""
    for page in ("operate/upgrades.md", "tutorial.md"):
        assert state.NEWEST in (ROOT / "docs" / page).read_text()
