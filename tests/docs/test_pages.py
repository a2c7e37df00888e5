"""What the pages say in their own words."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from docs import hooks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


@pytest.mark.parametrize(
    "block", [code for _, code in BLOCK.findall(README)], ids=lambda code: code.splitlines()[0][:40]
)
def test_programs_of_the_readme_import_what_there_is(block: str) -> None:
    """Each is Python, and what it takes from pgaudit exists."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pgaudit":
            module = importlib.import_module(node.module or "")
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs_of_the_pages_are_files(page: Path) -> None:
    """Of the documentation or of the examples, which tests run: none is written into a page."""
    for _, block in BLOCK.findall(page.read_text()):
        assert re.fullmatch(r' *--8<-- "(docs/code|examples)/.+\.py"\n', block), block


def test_the_readme_and_the_pages_name_the_same_connections() -> None:
    """Row by row; the pages have links."""
    page = LINK.sub(r"\1", (ROOT / "docs" / "integrate" / "index.md").read_text())
    table = README.partition("| Library | Connection |")[2].partition("\n\n")[0]
    assert table.count("\n") > 4
    assert table in page


def test_sections_of_the_readme_are_in_the_pages() -> None:
    """Each that is marked, so that there is one text."""
    marked = re.findall(r"<!-- --8<-- \[start:(\w+)\] -->", README)
    shown = [
        name for page in PAGES for name in re.findall(r'^--8<-- "README\.md:(\w+)"$', page.read_text(), re.MULTILINE)
    ]
    assert sorted(marked) == sorted(shown)
    for name in marked:
        section = README.partition(f"[start:{name}] -->")[2].partition(f"<!-- --8<-- [end:{name}] -->")[0]
        assert section.strip()
        assert "](" not in section, "a link of the README leads elsewhere from a page"


def test_no_directive_is_left_over() -> None:
    """Whatever a page asks for is there."""
    for page in PAGES:
        assert "{{ " not in re.sub(r"```.*?```", "", hooks.on_page_markdown(page.read_text()), flags=re.DOTALL)
