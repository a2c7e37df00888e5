"""The commands of the page on streams."""

import re
from pathlib import Path

import pytest

from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.streams import append, lines, send_all

PAGE = "streams/index.md"
CHANGING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\d+\.\d{3}| +")


@pytest.fixture
def place(site: Site, tmp_path: Path) -> str:
    """The directory of the archive in a log of four events, as long as that on the page."""
    append(site.dsn("claims_audit"), 4)
    return str(tmp_path / "archive")


def told(site: Site, block: str, role: str, place: str) -> None:
    """Fails unless the commands of a block print what the page has, but for times and the width of columns."""
    printed = site.session(block.replace("/var/audit/archive", place), role).replace(place, "/var/audit/archive")
    assert [CHANGING.sub(" ", line).strip() for line in printed.splitlines()] == [
        CHANGING.sub(" ", line).strip() for line in printed_output(block)
    ]


def test_the_quick_start_and_the_acts_print_what_the_page_has(site: Site, place: str) -> None:
    """As the owner, a reader and an operator; a stream is rewound after a restore."""
    told(site, recipe(PAGE, "stream add archive"), "claims_audit", place)
    send_all(site.dsn("claims_worker"), "archive")
    assert [line["index"] for line in lines(Path(place))] == [0, 1, 2, 3]
    told(site, recipe(PAGE, "stream list"), "claims_dba", place)
    told(site, recipe(PAGE, "stream pause archive"), "claims_oncall", place)
    site.session("$ pgaudit stream pause archive\n", "claims_oncall")  # as it is after a restore
    told(site, recipe(PAGE, "stream rewind archive"), "claims_oncall", place)
