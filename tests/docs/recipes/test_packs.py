"""The commands of the page on packs, as a reader and the one who receives the pack run them."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from pgaudit import Settings
from pgaudit.sealing.completeness import close_periods
from pgaudit.sealing.keys import HighWaterMark, create, new_keys, public_keys, replace_keys
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.sealing.completeness.conftest import Log
from tests.support.events import event, events
from tests.support.jobs import record_persist_and_commit

PAGE = "operate/packs.md"


@pytest.fixture
def sealed(site: Site, tmp_path: Path) -> Site:
    """Forty sealed events, two of them about the claim 7, and a newer one."""
    keys = new_keys("audit.example.com/claims")
    with site.connect() as conn:
        assert record_persist_and_commit(conn, *events(29), *(event(n) for n in range(11))) == []
        assert seal(conn, Signer(keys, HighWaterMark(tmp_path / "mark")))
        assert record_persist_and_commit(conn, event(7)) == []
    (site.directory / "claims.policy").write_text(str(Policy.of([key.verifier for key in keys])))
    return site


@pytest.fixture
def with_days(site: Site, tmp_path: Path) -> Site:
    """Four events about the claim 7, of which the last one is of a day that is not over."""
    signer = Signer(new_keys("audit.example.com/claims"), HighWaterMark(tmp_path / "mark"))
    with psycopg.connect(site.dsn()) as conn, site.connect("claims_worker") as worker:
        log = Log(conn, signer)
        record_persist_and_commit(conn, *events(29), *(event(n) for n in range(11)))
        log.seal_on(date(2026, 11, 25))
        log.append("claim:7")
        log.seal_on(date(2026, 11, 26))
        close_periods(worker, Settings(), datetime(2026, 11, 26, 0, 1, tzinfo=UTC))
        log.append("claim:7")
        log.seal_on(date(2026, 11, 26))
    (site.directory / "claims.policy").write_text(str(Policy.of([key.verifier for key in signer.keys])))
    return site


def assert_printed(site: Site, block: str) -> None:
    """Asserts that a session prints what the page says; … stands for any text."""
    expected = "\n".join(printed_output(block)) + "\n" if printed_output(block) else ""
    printed = site.session(block, "claims_dba")
    assert re.fullmatch(re.escape(expected).replace("…", r"\S+"), printed), printed


def test_a_pack_is_made_and_verified_as_the_page_says(sealed: Site) -> None:
    """By both programs; and refused after a word was altered."""
    assert_printed(sealed, recipe(PAGE, "--output claim-7.zip"))
    assert_printed(sealed, recipe(PAGE, "python3 -m zipfile"))
    assert_printed(sealed, recipe(PAGE, "pgaudit verify-pack claim-7.zip"))
    assert_printed(sealed, recipe(PAGE, "sed -i"))


def test_a_policy_is_written_from_the_public_keys(site: Site) -> None:
    """Each key is a line of it, so it is the same after a rotation."""
    path = site.directory / "claims.key"
    create(path, new_keys("audit.example.com/claims"))
    replace_keys(path, new_keys("audit.example.com/claims"))
    site.session(recipe(PAGE, "quorum none"), "claims_dba")
    assert (site.directory / "claims.policy").read_text() == str(Policy.of(public_keys(path)))


def test_all_events_of_a_claim_are_shown_as_the_page_says(with_days: Site) -> None:
    """And that there are none of another; each is verified."""
    assert_printed(with_days, recipe(PAGE, "--output all-of-claim-7"))
    assert_printed(with_days, recipe(PAGE, "--output none-of-claim-999"))
