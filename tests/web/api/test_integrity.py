"""The routes about the integrity of the log: what they tell, to whom, and the proof of an event."""

from pathlib import Path

import httpx
import psycopg
import pytest

from pgaudit import AuditEvent, Settings, trail
from pgaudit.sealing.keys import public_keys
from pgaudit.sealing.packs.output import PackOutput
from pgaudit.sealing.packs.planning import plan_pack
from pgaudit.sealing.policy import Policy
from pgaudit.trail.export.copying import copy
from pgaudit.web import create_app
from pgaudit.web.access import Scope
from tests.support.events import events
from tests.support.http import client_of
from tests.support.jobs import persist_and_commit, record_persist_and_commit
from tests.support.sealing import NAME, seal_and_verify, signing
from tests.support.tampering import tamper
from tests.web.api.conftest import SECRET, Opened, Staff

INTEGRITY = "/api/v1/audit/integrity"
PROOF = "/api/v1/audit/events/7/proof"
FORGE = 'UPDATE pgaudit.audit_log SET event = event || \'{"reason": "forged"}\' WHERE index = 7'
REVEAL = "UPDATE pgaudit.audit_log SET event = event #- '{data,iban}'"
REHASH = "UPDATE pgaudit.audit_log SET leaf_hash = sha256('\\x00'::bytea || convert_to(event::text, 'UTF8'))"


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a worker with a signing key."""
    return signing(settings, tmp_path)


@pytest.fixture
def sealed(conn: psycopg.Connection, worker: Settings, recorded: list[AuditEvent]) -> psycopg.Connection:
    """A connection to a log of 31 events, 30 of them signed and verified."""
    assert recorded
    seal_and_verify(conn, worker)
    record_persist_and_commit(conn, *events(1))
    return conn


def test_the_integrity_of_the_log_is_told(api: httpx.Client, sealed: psycopg.Connection) -> None:
    """The level and what it means, the newest checkpoint and its key, and what is not signed yet."""
    told = api.get(INTEGRITY).json()
    assert (told["level"], told["anchors"]) == ("signed", [])
    assert told["level_means"].startswith("Detects any change of signed events")
    sealing, checkpoint = told["sealing"], told["checkpoint"]
    assert (sealing["size"], sealing["checkpoint_size"], sealing["unsigned_events"]) == (31, 30, 1)
    assert (sealing["fully_verified_end"], sealing["failed_at"], sealing["refused"]) == (30, None, None)
    (note,) = sealed.execute("SELECT note FROM pgaudit.checkpoint").fetchall()
    assert (checkpoint["note"], checkpoint["origin"], checkpoint["size"]) == (note[0], NAME, 30)
    assert [(key["name"], key["is_witness"]) for key in checkpoint["keys"]] == [(NAME, False)]


def test_a_log_that_is_not_signed_has_no_level(api: httpx.Client) -> None:
    """Nothing is claimed of it."""
    told = api.get(INTEGRITY).json()
    assert (told["level"], told["level_means"], told["checkpoint"]) == (None, None, None)
    assert told["sealing"]["unsigned_events"] == 30


def test_findings_are_named(api: httpx.Client, sealed: psycopg.Connection, worker: Settings) -> None:
    """There is no level while they stand."""
    tamper(sealed, FORGE)
    seal_and_verify(sealed, worker)
    told = api.get(INTEGRITY).json()
    assert told["level"] is None
    assert told["sealing"]["found"][0]["name"] == "altered"
    assert (told["sealing"]["found"][0]["index"], told["sealing"]["failed_at"] is not None) == (7, True)


def test_a_checkpoint_that_was_overwritten_is_told(api: httpx.Client, sealed: psycopg.Connection) -> None:
    """With what is wrong with it."""
    tamper(sealed, "UPDATE pgaudit.checkpoint SET note = 'nonsense'")
    told = api.get(INTEGRITY).json()["checkpoint"]
    assert (told["note"], told["origin"], told["keys"]) == ("nonsense", None, [])
    assert told["fault"].startswith("not a signed note")


def test_who_sees_a_part_of_the_trail_sees_no_numbers_of_the_whole(as_user: Opened, sealed: psycopg.Connection) -> None:
    """Neither sizes of checkpoints, nor a proof: it has hashes of other events."""
    assert sealed
    north = as_user(Staff(seen=Scope(tenants=frozenset({"north"}))))
    assert north.get("/api/v1/audit/events/7").status_code == 200
    for path in (INTEGRITY, PROOF):
        assert north.get(path).status_code == 403
    assert north.get("/api/v1/audit/events/8/proof").status_code == 404
    assert as_user(Staff(actions=frozenset({"export"}))).get(INTEGRITY).status_code == 403


def test_a_proof_is_that_of_a_pack(
    api: httpx.Client, sealed: psycopg.Connection, worker: Settings, tmp_path: Path
) -> None:
    """The same bytes, as a file; by the event's index or its id."""
    assert worker.signing_key
    policy = str(Policy.of(public_keys(Path(worker.signing_key.get_secret_value()))))
    output = PackOutput(tmp_path / "pack", plan_pack(sealed, "target:claim:2", policy, "proofs"))
    copy(sealed, output, None, lambda _: None)
    answer = api.get(PROOF)
    assert answer.content == (tmp_path / "pack/proofs/7.tlog-proof").read_bytes()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="7.tlog-proof"'
    entry = trail.find(sealed, 7)
    assert entry
    assert api.get(f"/api/v1/audit/events/{entry.event_id}/proof").content == answer.content


def test_an_event_without_a_checkpoint_has_no_proof(api: httpx.Client, sealed: psycopg.Connection) -> None:
    """The answer says so; an event that does not exist, and an id that is none, are told apart."""
    assert sealed
    answers = {key: api.get(f"/api/v1/audit/events/{key}/proof") for key in ("30", "99", "x")}
    assert {key: answer.status_code for key, answer in answers.items()} == {"30": 404, "99": 404, "x": 422}
    assert answers["30"].json()["detail"] == "No checkpoint covers event 30 yet."


def test_nothing_is_proved_of_a_log_that_does_not_verify(
    api: httpx.Client, sealed: psycopg.Connection, worker: Settings
) -> None:
    """Neither an event that was altered, nor, once that was found, any other; nor with a forged tree."""
    tamper(sealed, FORGE)
    altered = api.get(PROOF)
    assert (altered.status_code, "is not the one that was sealed" in altered.json()["detail"]) == (409, True)
    assert api.get("/api/v1/audit/events/8/proof").status_code == 200
    seal_and_verify(sealed, worker)
    assert "does not verify: event 7 was altered" in api.get("/api/v1/audit/events/8/proof").json()["detail"]
    tamper(sealed, "TRUNCATE pgaudit.verification", "UPDATE pgaudit.checkpoint SET note = 'nonsense'")
    assert api.get("/api/v1/audit/events/8/proof").status_code == 409


@pytest.mark.parametrize(("hidden_at", "size"), [(262, 600), (512, 513), (511, 512)])
def test_a_proof_tells_nothing_of_masked_events(
    as_user: Opened, conn: psycopg.Connection, worker: Settings, hidden_at: int, size: int
) -> None:
    """Its hashes would confirm a guess at a hidden value of an event beside it, or at the end of the tree.

    An event in another complete tile is no reason: the proof has only the hash of all 256 events there.
    """
    tamper(conn, REVEAL)
    hidden = AuditEvent(action="claim.paid", target="claim:7", data={"iban": SECRET})
    record_persist_and_commit(conn, *events(hidden_at - 30), hidden, *events(size - hidden_at - 1))
    tamper(conn, REHASH)
    seal_and_verify(conn, worker)
    user = as_user(Staff(hidden=frozenset({"data.iban"})))
    first_tile = 403 if size == 513 else 200
    assert user.get("/api/v1/audit/events/250/proof").status_code == first_tile
    refused = user.get(f"/api/v1/audit/events/{hidden_at // 256 * 256}/proof")
    assert (refused.status_code, "confirm a guess" in refused.json()["detail"]) == (403, True)
    assert as_user(Staff()).get("/api/v1/audit/events/250/proof").status_code == 200


def test_a_proof_is_recorded_as_a_read(
    settings: Settings, sealed: psycopg.Connection, recorded: list[AuditEvent]
) -> None:
    """If the settings ask for it; one that is refused is not."""
    recording = settings.model_copy(update={"record_reads": True})
    with client_of(create_app(recording, Staff())) as client:
        assert client.get(PROOF).status_code == 200
        assert client.get("/api/v1/audit/events/30/proof").status_code == 404
    persist_and_commit(sealed)
    (viewed,) = [entry for entry in trail.last(sealed, 5) if entry.action == "audit.viewed"]
    assert viewed.event["data"] == {"event": str(recorded[7].id), "proof": True}
