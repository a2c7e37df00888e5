"""What the pages take from the code."""

import re
from pathlib import Path

import psycopg
import pytest
from mkdocs.exceptions import PluginError

from docs import hooks
from pgaudit import Settings
from pgaudit.web import metrics

ROOT = Path(__file__).parents[2]
COLUMNS = """
    SELECT c.relname, a.attname, col_description(c.oid, a.attnum)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'pgaudit'::regnamespace AND c.relkind IN ('v', 'p')
"""


def rows(text: str) -> list[str]:
    """The rows of the settings' table."""
    return [line for line in text.splitlines() if line.startswith("| `PGAUDIT_")]


def test_the_readme_has_the_table_of_the_settings() -> None:
    """Row by row what is generated from Settings: no default that has changed since, no setting forgotten."""
    assert rows((ROOT / "README.md").read_text()) == rows(hooks.settings())
    assert len(rows(hooks.settings())) == len(Settings.model_fields)


def test_every_column_of_the_database_is_described(conn: psycopg.Connection) -> None:
    """Of each view and of the log, as psql shows it."""
    page = hooks.relations()
    for view, column, said in conn.execute(COLUMNS):
        assert f"`pgaudit.{view}`" in page
        assert f"| `{column}` | {hooks.unquoted(said)} |" in page


def test_every_metric_is_described(conn: psycopg.Connection, settings: Settings) -> None:
    """What one scrape exposes; a name that is made up when it runs is there with an ellipsis."""
    names = re.findall(r"`(pgaudit_\S+)`", hooks.metric_families())
    described = [name.removesuffix("_total").replace("…", r"\w+") for name in names]
    exposed = re.findall(r"^# TYPE (\w+)", metrics.exposition(metrics.look(conn, settings)).decode(), re.MULTILINE)
    assert exposed
    for name in exposed:
        assert any(re.fullmatch(known, name) for known in described), name


def test_code_is_shown_as_it_is_written() -> None:
    """With its decorators and comments, and without words to linters."""
    shown = hooks.code("examples/django/app.py", "approve_and_pay")
    assert shown.startswith("@transaction.atomic\ndef approve_and_pay(claim_id: int) -> Claim:\n")
    assert shown.endswith("    return claim")


@pytest.mark.parametrize("line", ["{{ nothing }}", "{{ code examples/plain.py nothing }}"])
def test_what_is_not_there_ends_the_build(line: str) -> None:
    """A page cannot ask in vain."""
    with pytest.raises(PluginError, match="nothing"):
        hooks.on_page_markdown(line)
