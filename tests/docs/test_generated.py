"""What the pages take from the code."""

import re
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

import pgaudit
import pgaudit.sqlalchemy
from docs import generated, source
from docs.generate import generate
from pgaudit import (
    AuditEvent,
    Settings,
    access_log,
    claims,
    health,
    indexes,
    jobs,
    listener,
    migrate,
    saved_searches,
    stats,
    testing,
    trail,
    worker,
)
from pgaudit.events.json_values import MAX_DEPTH, MAX_DIGITS
from pgaudit.guard import captures, guards
from pgaudit.health import Status
from pgaudit.recording import replay
from pgaudit.trail import export
from pgaudit.web import metrics, scrape

ROOT = Path(__file__).parents[2]
COLUMNS = """
    SELECT c.relname, a.attname, col_description(c.oid, a.attnum)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'pgaudit'::regnamespace
       AND (c.relkind IN ('v', 'p') OR c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NOT NULL)
"""


TABLES = """
    SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
     WHERE relnamespace = 'pgaudit'::regnamespace AND relkind IN ('v', 'p', 'r') AND NOT relispartition
       AND relname NOT LIKE 'procrastinate%' AND relname <> 'alembic_version'
"""
REFERENCE = ROOT / "docs" / "reference"


def rows(text: str) -> list[str]:
    """The rows of the settings' table."""
    return [line for line in text.splitlines() if line.startswith("| `PGAUDIT_")]


def test_the_configuration_page_has_each_setting() -> None:
    """The table has a row for each field of Settings."""
    assert len(rows((REFERENCE / "configuration.md").read_text())) == len(Settings.model_fields)


def test_every_column_of_the_database_is_described(conn: psycopg.Connection) -> None:
    """Of each view, of the log, and what is said of other tables, as psql shows it."""
    sections = dict(
        re.findall(r"^## `pgaudit\.(\w+)`\n(.+?)(?=\n## |\Z)", generated.relations(), re.MULTILINE | re.DOTALL)
    )
    for relation, column, said in conn.execute(COLUMNS):
        assert f"| `{column}` | {generated.unquoted(said)} |" in sections[relation]
    for relation, said in conn.execute(TABLES):
        assert generated.unquoted(said) in sections[relation]
    assert {"audit_jobs", "queue_watermark"} < set(sections)


def test_every_metric_is_described(conn: psycopg.Connection, settings: Settings) -> None:
    """What one scrape exposes; a name that is made up when it runs is there with an ellipsis."""
    names = re.findall(r"`(pgaudit_\S+)`", generated.metric_families())
    described = [re.sub("_(total|info)$", "", name).replace("…", r"\w+") for name in names]
    exposed = re.findall(r"^# TYPE (\w+)", metrics.exposition(scrape.look(conn, settings)).decode(), re.MULTILINE)
    assert exposed
    for name in exposed:
        assert any(re.fullmatch(known, name) for known in described), name


def test_code_is_shown_as_it_is_written() -> None:
    """Code on a page has its decorators and comments, but no directives for linters."""
    shown = source.code("examples/django/app.py", "approve_and_pay")
    assert shown.startswith("@transaction.atomic\ndef approve_and_pay(claim_id: int) -> Claim:\n")
    assert shown.endswith("    return claim")


def test_every_field_of_an_event_is_described() -> None:
    """Each field of an event and of its parts has a description and its maximum length."""
    page = (REFERENCE / "python.md").read_text()
    for model in (AuditEvent, *(getattr(pgaudit, name) for name in ("Actor", "Target", "Change", "AuditContext"))):
        section = page.partition(f"### `{model.__name__}`\n")[2].partition("\n### ")[0]
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert re.search(rf"^\| `{name}` \| .+ \| {re.escape(field.description)} \|$", section, re.MULTILINE)
            for limit in (limit.max_length for limit in field.metadata if hasattr(limit, "max_length")):
                assert f"{limit} characters" in field.description
                assert f"{limit} characters" in page.partition("### Limits")[2]


def test_the_limits_of_an_event_are_told() -> None:
    """The limits on the Python page are those of the code."""
    limits = (REFERENCE / "python.md").read_text().partition("### Limits")[2]
    size = Settings.model_fields["max_event_bytes"].default
    for limit in (f"nested at most {MAX_DEPTH} deep", f"at most {MAX_DIGITS:,} digits", f"{size:,} bytes"):
        assert limit in limits


PUBLIC = [
    *(pgaudit, access_log, claims, health, indexes, jobs, listener, migrate, replay, saved_searches, stats),
    *(pgaudit.sqlalchemy, testing, trail, export, worker, captures, guards),
]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_public_names_of_a_module_are_in_the_reference(module: ModuleType) -> None:
    """Names that begin with an underscore are internal; all others are documented."""
    page = (REFERENCE / "python.md").read_text()
    section = page.partition(f"## `{module.__name__}`\n")[2].partition("\n## ")[0]
    public = getattr(module, "__all__", None) or {
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
    }
    for name in {name for name in public if name[0] != "_"}:
        shown = rf"^\| `{name}[`(]|^{name}: |`(?:{module.__name__}\.)?{name}`"
        assert re.search(shown, section, re.MULTILINE), name
    assert f"\n::: {module.__name__}\n" in section


def test_a_table_of_names_has_methods_and_their_parameters() -> None:
    """The table shows signatures as they are called, without self and without internal methods."""
    rows = generated.names("pgaudit.worker", "start_in_thread", "WorkerThread").splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| `start_in_thread(settings)`",
        "| `WorkerThread`",
        "| `WorkerThread.stop()`",
    ]
    assert rows[0].endswith(
        " | Runs a worker in a thread of this process until `stop()`, or until the process exits. |"
    )


def test_every_health_check_is_in_the_table(conn: psycopg.Connection, settings: Settings) -> None:
    """In the order of the report, with what is wrong when it is not healthy."""
    report = health.check(conn, settings)
    table = (REFERENCE / "http.md").read_text().partition("## Health checks")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [check.name for check in report.checks]
    assert all(f"`{status}` when" in table for status in Status if status != Status.HEALTHY)


@pytest.mark.parametrize("what", ["nothing", "code examples/plain.py nothing", "names pgaudit.trail nothing"])
def test_generate_refuses_names_that_do_not_exist(what: str) -> None:
    """A page that asks for a table, a function or a module that is gone ends the build."""
    with pytest.raises(KeyError, match="nothing"):
        generate(f"<!-- generated: {what} -->\n<!-- end -->")
