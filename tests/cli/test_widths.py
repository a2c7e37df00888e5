"""What the commands print in terminals of 40, 80 and 200 columns, with and without colours."""

import re

import psycopg
import pytest
from rich.cells import cell_len

from pgaudit import AuditEvent, AuditLog, Change, Settings
from tests.support.terminal import in_terminal

STYLE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|9\d)m")


@pytest.fixture
def _log(conn: psycopg.Connection) -> None:
    """A log of three events; the last one has long, wide and hostile values."""
    long = AuditEvent(
        action="claim." + "x" * 60,
        actor="user:" + "日本" * 40,
        targets=["claim:\x1b[2J" + "y" * 90, "policy:1"],
        outcome="denied",
        reason="because of it " * 20,
        changes=[Change(path="status", before="o" * 100, after="p" * 100)],
        data={"note": "word " * 40, "deep": {"er": {"est": ["日本" * 30]}}},
    )
    short = AuditEvent(action="claim.paid", actor="user:1", target="claim:7")
    AuditLog(Settings(mode="inline")).record(conn, short, short.model_copy(update={"id": long.id}), long)
    conn.commit()


@pytest.mark.usefixtures("_log")
@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    "command",
    [
        ("search", "action:claim.*", "--limit", "2"),
        ("search", "outcome:success"),
        ("tail",),
        ("show", "0"),
        ("show", "1"),
        ("show", "2"),
        ("search", "tenant:" + "x" * 300, "clam:7"),
    ],
)
def test_no_line_is_wider_than_the_terminal(dsn: str, columns: int, command: tuple[str, ...]) -> None:
    """Every line fits, so that the terminal breaks none; a sentence or a command to copy is left to it."""
    output = STYLE.sub("", in_terminal(dsn, columns, *command))
    lines = [line for line in output.splitlines() if not line.startswith(("pgaudit: ", "Older: ", "Newer: "))]
    assert lines
    assert [line for line in lines if cell_len(line) > columns] == []
    assert "\x1b" not in output


@pytest.mark.usefixtures("_log")
def test_a_page_is_a_table_where_it_fits(dsn: str) -> None:
    """In 80 columns short entries take a line each, below the names of the columns; in 40 they take three."""
    wide = in_terminal(dsn, 80, "search", "outcome:success", NO_COLOR="1")
    assert len(STYLE.sub("", wide).splitlines()) == 3
    assert "index" in wide
    narrow = STYLE.sub("", in_terminal(dsn, 40, "search", "outcome:success"))
    first, second, third = narrow.splitlines()[:3]
    assert re.fullmatch(r"1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  claim\.paid", first)
    assert (second, third) == ("    success", "    user:1  claim:7")


@pytest.mark.usefixtures("_log")
def test_colours_respect_no_color_and_pipes(dsn: str) -> None:
    """A denied event is red in a terminal; NO_COLOR takes the colours away, and what they say is there as a word."""
    for command in (("search",), ("show", "0"), ("tail",)):
        coloured, plain = in_terminal(dsn, 200, *command), in_terminal(dsn, 200, *command, NO_COLOR="1")
        assert STYLE.sub("", coloured) == STYLE.sub("", plain)
        assert COLOUR.search(coloured)
        assert not COLOUR.search(plain)
