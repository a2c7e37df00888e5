"""The sessions of the page on verification, with the rights of a reader."""

from datetime import UTC, datetime

import pytest

from pgaudit.sealing.anchoring import anchor
from pgaudit.sealing.anchors import anchor_at
from pgaudit.sealing.keys import HighWaterMark, create, new_keys, public_keys
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit

PAGE = "operate/verify.md"


@pytest.fixture
def sealed(site: Site) -> Site:
    """Forty events, signed and anchored in a directory; the public key and a policy are where the commands run."""
    keys, path = new_keys("audit.example.com/claims"), site.directory / "claims.key"
    create(path, keys)
    anchors = site.directory / "anchors"
    anchors.mkdir(mode=0o700)
    with site.connect() as conn:
        assert record_persist_and_commit(conn, *events(40)) == []
        assert seal(conn, Signer(keys, HighWaterMark(site.directory / "mark")))
        anchor(conn, [anchor_at(f"file:{anchors}")], datetime.now(UTC))
    (site.directory / "claims.policy").write_text(str(Policy.of(public_keys(path))))
    return site


def test_the_log_is_verified_as_the_page_says(sealed: Site) -> None:
    """With the key alone, and with a policy and an anchor."""
    signed, anchored = recipe(PAGE, "--vkey"), recipe(PAGE, "--anchor")
    assert sealed.session(signed, "claims_dba").splitlines() == printed_output(signed)
    here = anchored.replace("/var/anchors", str(sealed.directory / "anchors"))
    assert sealed.session(here, "claims_dba").splitlines() == printed_output(anchored)
