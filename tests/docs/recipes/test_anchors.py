"""The page on anchors: its setting is accepted, and its statements run as the roles that it names."""

from pgaudit.sealing.anchors import anchor_at
from tests.docs.printed import commands, recipe
from tests.docs.recipes.site import Site

PAGE = "operate/anchors.md"
PROGRAM = """
from pgaudit import Settings
from pgaudit.sealing.anchors import anchors_of
print(*(anchor.name for anchor in anchors_of(Settings())))
"""


def test_the_anchors_of_the_page_are_opened(site: Site) -> None:
    """The value of the variable names two anchors."""
    (site.directory / "anchors.py").write_text(PROGRAM)
    exports = "\n".join(commands(recipe(PAGE, "export PGAUDIT_ANCHORS")))
    aws = "export AWS_DEFAULT_REGION=eu-central-1"
    printed = site.run(f"{aws}\n{exports}\npython anchors.py", "claims_worker")
    assert printed.split() == ["file:/var/anchors", "s3://acme-audit/claims"]


def test_a_dba_sees_the_anchors_and_the_owner_forgets_them(site: Site) -> None:
    """A reader looks at the anchors; the owner deletes what is left of them, which a reader cannot."""
    with site.connect("claims_worker") as worker, site.connect("claims_dba") as reader:
        worker.execute("SELECT * FROM pgaudit.claim_anchors(ARRAY[%s], now(), '1 s')", [anchor_at("file:/a").name])
        look = recipe(PAGE, "FROM pgaudit.anchor_stats").encode()
        assert reader.execute(look).fetchall() == [("file:/a", 0, None, 0.0, 0, None)]
        with site.connect("claims_audit") as owner:
            owner.execute(recipe(PAGE, "DELETE FROM pgaudit.anchor").encode())
        assert reader.execute(look).fetchall() == []
