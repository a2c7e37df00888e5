"""The root of a log and the id of a key, computed in the shell as the page on the tree prints it."""

from pathlib import Path

from pgaudit.sealing.keys import HighWaterMark, new_keys
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

PAGE = "concepts/tree.md"


def test_the_root_of_three_events_by_hand(site: Site, tmp_path: Path) -> None:
    """sha256sum computes the root that was signed."""
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(3))
        assert seal(conn, Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark")))
    root, *note = site.session(recipe(PAGE, "leaf() {")).splitlines()
    assert note[:3] == ["audit.example.com/claims", "3", root]


def test_the_id_of_a_key_by_hand(site: Site) -> None:
    """It is what stands between name and key."""
    session = recipe(PAGE, "vkey=")
    assert site.session(session).splitlines() == printed_output(session)
