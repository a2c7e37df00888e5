"""``pgaudit capture`` and ``pgaudit guard``."""

import json

import psycopg
import pytest

from pgaudit.grants import grant
from tests.support.command_line import Run
from tests.support.roles import temporary_roles

TABLES = """
    CREATE TABLE claims (id bigint PRIMARY KEY, tenant text, status text, email text, iban text);
    CREATE TABLE parts (id bigint PRIMARY KEY, status text);
    CREATE TABLE part () INHERITS (parts)
"""


@pytest.fixture(autouse=True)
def _tables(dsn: str) -> None:
    """Tables of the application."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)


def test_a_table_is_captured_shown_and_removed(run: Run) -> None:
    """Each command ends with a sentence; show has the settings and an example."""
    added = run(
        "capture", "add", "claims", "--target", "claim", "--key", "tenant, id", "--mask", "email, iban",
        "--exclude", "status", "--when", "new.email <> old.email",
    )  # fmt: skip
    assert added.stdout == "public.claims is captured: claim.created, .updated, .deleted.\n", added.stderr
    shown = run("capture", "show", "claims").stdout
    assert [line.split(maxsplit=1) for line in shown.splitlines()[:7]] == [
        ["table", "public.claims"], ["state", "captured"], ["target", "claim:tenant,id"], ["columns", "all"],
        ["exclude", "status"], ["mask", "email, iban"], ["when", "new.email <> old.email"],
    ]  # fmt: skip
    assert "level       statement" in shown
    assert '{"path": "email", "before": "***", "after": "***"}' in " ".join(shown.split())
    as_json = json.loads(run("capture", "show", "public.claims", "--json").stdout)
    assert (as_json["state"], as_json["key"]) == ("captured", ["tenant", "id"])
    assert as_json["example"]["action"] == "claim.updated"
    assert run("capture", "pause", "claims").stdout == (
        "The capture of public.claims is paused: its changes are not recorded.\n"
    )
    assert "paused      by postgres" in run("capture", "show", "claims").stdout
    assert json.loads(run("capture", "list", "--json").stdout)[0]["state"] == "paused"
    assert json.loads(run("capture", "resume", "claims", "--json").stdout)["state"] == "captured"
    assert run("capture", "remove", "claims").stdout == "claims is no longer captured.\n"
    assert json.loads(run("capture", "list", "--json").stdout) == []


def test_a_table_is_guarded_shown_and_removed(run: Run) -> None:
    """Patterns of one operation win over that of all."""
    added = run(
        "guard", "add", "claims", "--target", "claim", "--key", "tenant", "--key", "id", "--on-missing", "capture",
        "--action", "claim.*", "--on-delete", "claim.deleted", "--changes", "--columns", "status,iban",
        "--captured-as", "case",
    )  # fmt: skip
    assert added.stdout == "public.claims is guarded: changes without an event are captured.\n", added.stderr
    found = json.loads(run("guard", "show", "claims", "--json").stdout)
    assert found["actions"] == {
        "insert": "claim.*", "update": "claim.*", "delete": "claim.deleted", "truncate": "claim.*",
    }  # fmt: skip
    assert (found["changes"], found["columns"], found["action"]) == (True, ["status", "iban"], "case")
    assert found["key"] == ["tenant", "id"]
    shown = run("guard", "show", "claims").stdout
    assert "on missing  capture" in shown
    assert "delete: claim.deleted" in shown
    for command, sentence in {
        "pause": "The guard of public.claims is paused: its changes need no event.",
        "resume": "public.claims is guarded again.",
        "renew": "The guard of public.claims fits its present columns and triggers again.",
        "remove": "claims is no longer guarded.",
    }.items():
        assert run("guard", command, "claims").stdout == f"{sentence}\n"


def test_the_list_says_what_is_broken_and_renew_solves_it(run: Run, dsn: str) -> None:
    """Doctor and health say it, too; the level is explained."""
    run("capture", "add", "parts", "--target", "part", "--key", "id")
    assert "level       row, because tables inherit from it" in run("capture", "show", "parts").stdout
    assert "children    public.part" in run("capture", "show", "parts").stdout
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE parts DISABLE TRIGGER ALL")
    listed = run("capture", "list", COLUMNS="300").stdout
    assert "broken" in listed
    assert "has a trigger that does not always fire: 0_pgaudit_capture_delete on public.parts and 3 more" in listed
    assert "state       broken: it has a trigger that does not always fire" in run("capture", "show", "parts").stdout
    examined = run("doctor", COLUMNS="300")
    assert examined.returncode == 1
    assert "as the owner, run `pgaudit capture renew public.parts`" in examined.stdout
    assert "captured_tables" in run("health", COLUMNS="300").stdout
    assert run("capture", "renew", "public.parts").stdout.startswith(
        "The capture of public.parts fits its present columns"
    )
    assert json.loads(run("capture", "list", "--json").stdout)[0]["state"] == "captured"
    assert run("migrate", "--check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["capture", "add", "nowhere", "--target", "x", "--key", "id"],
            1,
            'relation "nowhere" does not exist. If it is in a schema that the search path does not have, name that',
        ),
        (
            ["capture", "add", "claims", "--target", "x", "--key", "no"],
            1,
            "has no column no; its columns are email, iban",
        ),
        (
            ["capture", "add", "claims", "--target", "x", "--key", "id", "--when", "new.x"],
            1,
            "column new.x does not exist",
        ),
        (
            ["capture", "add", "claims", "--target", "x", "--key", "id", "--columns", "a", "--exclude", "b"],
            2,
            "exclude each",
        ),
        (["capture", "add", "claims", "--target", "x"], 2, "Missing option '--key'"),
        (
            ["guard", "add", "claims", "--target", "x", "--key", "no", "--on-missing", "warn"],
            1,
            "claims cannot be guarded: it has no column no",
        ),
        (
            ["guard", "add", "claims", "--target", "x", "--key", "id", "--on-missing", "warn", "--captured-as", "y"],
            1,
            "'y' is how captured actions begin, but with on_missing = warn nothing is captured: leave it out",
        ),
        (["guard", "add", "claims", "--target", "x", "--key", "id"], 2, "from: abort, capture, warn;"),
        (["guard", "add", "claims", "--target", "x", "--key", "id", "--on-missing", "no"], 2, "'no' is not one of"),
        (["capture", "remove", "claims"], 1, "claims is not captured: `pgaudit capture list` shows"),
        (["guard", "show", "claims"], 1, "claims is not guarded: `pgaudit guard list` shows"),
    ],
)
def test_a_mistake_is_named_in_one_line(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    """With the exit code of its kind."""
    refused = run(*arguments)
    assert refused.returncode == code
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_reader_looks_and_only_the_owner_changes(run: Run, dsn: str) -> None:
    """The refusal says as whom to connect."""
    run("capture", "add", "claims", "--target", "claim", "--key", "id")
    with temporary_roles(dsn, "t_capture_cli"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_capture_cli")
        as_reader = f"{dsn} user=t_capture_cli"
        assert run("capture", "show", "claims", dsn=as_reader).returncode == 0
        assert run("guard", "list", dsn=as_reader).returncode == 0
        refused = run("capture", "pause", "claims", dsn=as_reader)
        assert refused.returncode == 3
        assert refused.stderr.endswith("only the owner of the schema pgaudit can capture tables: connect as postgres\n")
