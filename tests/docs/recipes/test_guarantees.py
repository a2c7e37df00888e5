"""The commands of the page on guarantees: what each of the threats meets."""

from pathlib import Path

import pytest

from pgaudit.sealing.keys import HighWaterMark, create, load, public_keys
from pgaudit.sealing.keys import new_keys as made
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.verify import Level, verify
from tests.docs.printed import recipe
from tests.docs.recipes.site import Site, printed_output
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import value
from tests.support.tampering import tamper

PAGE = "concepts/guarantees.md"


@pytest.fixture
def sealed(site: Site, tmp_path: Path) -> Site:
    """A sealed log of 300 events; its key is in ``claims.key``."""
    keys = made("audit.example.com/claims")
    create(tmp_path / "claims.key", keys)
    with site.connect() as conn:
        record_persist_and_commit(conn, *events(300))
        seal(conn, signer(tmp_path, "claims.key"))
    return site


def signer(directory: Path, key: str) -> Signer:
    """The signer with that key and the mark beside it."""
    return Signer(load(str(directory / key)), HighWaterMark(directory / f"{key}.mark"))


def test_an_event_without_an_actor_is_refused(site: Site) -> None:
    """The application with a bug gets an error."""
    session = recipe(PAGE, "PGAUDIT_REQUIRE=actor")
    assert site.attempt(script(session)).stdout.splitlines() == printed_output(session)


def test_the_application_may_not_read_or_sign(site: Site) -> None:
    """Both commands end with the error of the page."""
    session = recipe(PAGE, "-U claims_app")
    commands = [line.removeprefix("$ ") for line in session.splitlines() if line.startswith("$ ")]
    errors = [site.attempt(command).stderr.strip() for command in commands]
    assert errors == printed_output(session)


def test_a_forged_event_and_a_disabled_trigger_are_found(sealed: Site) -> None:
    """The DBA who forgets to switch the trigger on is found twice."""
    (vkey,) = public_keys(sealed.directory / "claims.key")
    session = recipe(PAGE, "guard_disabled")
    assert sealed.run(f"VKEY={vkey}\n" + script(session)).splitlines() == printed_output(session)


def script(session: str) -> str:
    """The commands of a session, with their continuation lines."""
    lines = session.replace("\\\n", " ").splitlines()
    return "\n".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))


def test_a_thief_of_the_key_is_found_by_the_anchor(sealed: Site, tmp_path: Path) -> None:
    """The forged log is signed; the checkpoint that was kept elsewhere is of another one."""
    with sealed.connect() as conn:
        note = str(value(conn, "SELECT note FROM pgaudit.checkpoint"))
        anchors = tmp_path / "anchors"
        anchors.mkdir()
        (anchors / f"{300:020d}.checkpoint").write_text(note)
        tamper(
            conn,
            'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7',
            "UPDATE pgaudit.audit_log SET leaf_hash = pgaudit.leaf_hash(event) WHERE index = 7",
            "TRUNCATE pgaudit.tile",
            "TRUNCATE pgaudit.checkpoint",
        )
        thief = Signer(load(str(tmp_path / "claims.key")), HighWaterMark(tmp_path / "thief.mark"))
        assert seal(conn, thief)
    (vkey,) = public_keys(tmp_path / "claims.key")
    session = recipe(PAGE, "--anchor").replace("/var/anchors", str(anchors))
    assert sealed.run(f"VKEY={vkey}\n" + script(session)).splitlines() == printed_output(session)


def test_a_lost_key_is_replaced(sealed: Site) -> None:
    """The new key goes on from the mark of the old one, and both are verified."""
    sealed.session(recipe(PAGE, "--output new.key"))
    with sealed.connect() as conn:
        record_persist_and_commit(conn, *events(5))
        assert seal(conn, signer(sealed.directory, "new.key"))
        result = verify(conn, keys=public_keys(sealed.directory / "new.key"))
    assert (result.findings, result.checkpoints, result.level) == ([], 2, Level.SIGNED)


def test_a_key_is_rotated(sealed: Site) -> None:
    """The old public key stays below the new one."""
    (old,) = public_keys(sealed.directory / "claims.key")
    new, *shown = sealed.session(recipe(PAGE, "keys rotate")).splitlines()
    assert shown == [new, str(old)]


def test_the_lag_of_anchors_is_shown(sealed: Site) -> None:
    """There is no anchor here."""
    assert sealed.session(recipe(PAGE, "anchor_stats")) == ""
