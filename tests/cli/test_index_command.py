"""``pgaudit index``: adding, listing and removing chosen indexes."""

import json

import psycopg

from pgaudit.grants import grant
from tests.support.command_line import Run
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.roles import temporary_roles


def test_indexes_are_added_listed_and_removed(run: Run, conn: psycopg.Connection) -> None:
    """The partitions are named on standard error, so that the output is one sentence or document."""
    record_persist_and_commit(conn, *events(10))
    added = run("index", "add", "data.claim_number")
    assert added.returncode == 0, added.stderr
    assert added.stdout == "The index data.claim_number is complete, with 16,384 bytes.\n"
    assert added.stderr.splitlines() == ["Indexing audit_log_10485760 (1 of 2)", "Indexing audit_log_0 (2 of 2)"]
    assert json.loads(run("index", "add", "ip", "--json").stdout)["complete"]
    listed = json.loads(run("index", "list", "--json").stdout)
    assert [(index["name"], index["complete"]) for index in listed] == [("data.claim_number", True), ("ip", True)]
    assert listed[0]["definition"].startswith("CREATE INDEX audit_log_chosen_data_claim_number_")
    assert "data.claim_number" in run("index", "list").stdout
    assert run("migrate", "--check").returncode == 0
    assert "[fault]" not in run("doctor").stdout.lower()
    assert run("index", "remove", "ip").stdout == "The index ip is removed.\n"
    assert json.loads(run("index", "remove", "data.claim_number", "--json").stdout) == {"removed": "data.claim_number"}
    assert json.loads(run("index", "list", "--json").stdout) == []


def test_an_unknown_index_is_refused_in_one_line(run: Run) -> None:
    """The sentence has the names that there are."""
    refused = run("index", "add", "requests")
    assert refused.returncode == 1
    assert refused.stderr.startswith("pgaudit: 'requests' is no index to choose: name one of request, correlation,")
    assert len(refused.stderr.splitlines()) == 1


def test_a_reader_lists_and_only_the_owner_adds(run: Run, dsn: str) -> None:
    """The refusal says as whom to connect."""
    with temporary_roles(dsn, "t_index_cli"):
        with psycopg.connect(dsn) as owner:
            grant(owner, reader="t_index_cli")
        as_reader = f"{dsn} user=t_index_cli"
        assert run("index", "list", dsn=as_reader).returncode == 0
        refused = run("index", "add", "ip", dsn=as_reader)
        assert refused.returncode == 3
        assert refused.stderr.endswith(
            "only the owner of the schema pgaudit can add and remove indexes: connect as postgres\n"
        )
