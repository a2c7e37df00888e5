"""The commands of the page on exports, as a reader runs them."""

import json

from pgaudit.trail import export
from pgaudit.trail.export.files import FileOutput
from pgaudit.trail.export.target import Target
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

PAGE = "operate/export.md"


def test_exports_are_made_and_checked_as_the_page_says(site: Site) -> None:
    """The hash of the manifest is that of the file, the hash of its first line that of the log."""
    with site.connect() as superuser:
        assert record_persist_and_commit(superuser, *events(5)) == []
    (site.directory / "exports").mkdir()
    printed = site.session(recipe(PAGE, "claims.csv").replace("/srv/exports", "exports"), "claims_dba")
    assert "5 events, index 0 to 4, in audit.ndjson\n" in printed
    assert json.loads((site.directory / "claims.csv.manifest.json").read_text())["bom"] is True
    of_file, of_manifest = site.session(recipe(PAGE, "sha256sum audit.ndjson"), "claims_dba").splitlines()
    assert of_file.split() == [of_manifest, "audit.ndjson"]
    of_line, of_log = site.session(recipe(PAGE, "printf"), "claims_dba").splitlines()
    assert of_line.split() == [of_log, "-"]


def test_an_interrupted_export_is_continued_as_the_page_says(site: Site) -> None:
    """The same command with --resume ends it."""
    with site.connect() as conn:
        assert record_persist_and_commit(conn, *events(5)) == []
        FileOutput.create(Target(site.directory / "audit.ndjson", "ndjson"), export.plan(conn)).close()
    printed = site.session(recipe(PAGE, "--resume"), "claims_dba")
    assert printed == "5 events, index 0 to 4, in audit.ndjson\n"
