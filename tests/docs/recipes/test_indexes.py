"""The commands and statements of the page on indexes."""

import re

from pgaudit import AuditContext, AuditEvent, indexes
from tests.docs.printed import ROOT, recipe, statements
from tests.docs.recipes.site import Site, printed_output
from tests.support.jobs import record_persist_and_commit
from tests.support.partitions import PARTITIONS
from tests.support.queries import value

PAGE = "operate/indexes.md"


def test_indexes_are_added_and_removed_as_printed(site: Site) -> None:
    """The owner's commands print what the page prints; request stays, and is no change by hand."""
    block = recipe(PAGE, "pgaudit index add request")
    assert site.session(block, "claims_audit").splitlines() == printed_output(block)
    with site.connect("claims_dba") as reader:
        assert [index.name for index in indexes.list_indexes(reader)] == ["request"]
    assert site.attempt("pgaudit migrate --check", "claims_audit").returncode == 0


def test_a_request_is_found_in_sql(site: Site) -> None:
    """The statement of the page has the condition that the code gives, and finds the event."""
    with site.connect() as superuser:
        contexts = [AuditContext(request_id=f"r-{number}") for number in range(3)]
        record_persist_and_commit(superuser, *(AuditEvent(action="claim.viewed", context=each) for each in contexts))
    (query,) = statements(recipe(PAGE, "request_id"))
    condition = indexes.condition("request", "r-1").as_string()
    assert condition in re.sub(r"\s+", " ", query)
    with site.connect("claims_dba") as reader:
        assert [row[0] for row in reader.execute(query.encode()).fetchall()] == [1]


def test_an_index_is_added_partition_by_partition(site: Site) -> None:
    """The statements for one partition, and then for the others, make the index of the whole log valid."""
    parent, *for_partition = statements(recipe(PAGE, "CREATE INDEX CONCURRENTLY"))
    (is_valid,) = re.findall(r"`(SELECT indisvalid.+?)`", (ROOT / "docs" / PAGE).read_text(), re.DOTALL)
    with site.connect("claims_audit") as owner:
        owner.execute(parent.encode())
        for partition, _, _ in owner.execute(PARTITIONS).fetchall():
            for statement in for_partition:
                owner.execute(statement.replace("audit_log_0", partition.removeprefix("pgaudit.")).encode())
        assert value(owner, is_valid) is True
