"""``pgaudit verify``: whose signatures are needed, a sample in place of all events, and how it ends."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgaudit.sealing.keys import HighWaterMark, create, load, new_keys
from pgaudit.sealing.notes import COSIGNATURE, Note, Signature, VerifierKey, merged
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from tests.support.command_line import Run
from tests.support.events import events
from tests.support.jobs import record_persist_and_commit
from tests.support.queries import Connection
from tests.support.tampering import tamper

SIZE = 2_600  # ten complete tiles, and 40 events behind them
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32))
WITNESS_KEY = VerifierKey("witness.example", COSIGNATURE, WITNESS.public_key().public_bytes_raw())
EDIT = "UPDATE pgaudit.audit_log SET event = jsonb_set(event, '{reason}', '\"forged\"') WHERE index BETWEEN %s AND %s"


@dataclass(frozen=True)
class Sealed:
    """A sealed log: its public key, and the newest checkpoint."""

    conn: Connection
    vkey: str
    note: Note

    def policy(self, path: Path, *lines: str) -> str:
        """Writes a policy with the key of the log and further lines. Returns its path."""
        path.write_text("\n".join([f"log {self.vkey}", *lines, ""]))
        return str(path)


@pytest.fixture
def log(conn: psycopg.Connection, tmp_path: Path) -> Sealed:
    """A log of 2,600 events, sealed as a whole."""
    for count in (1_000, 1_000, 600):
        record_persist_and_commit(conn, *events(count))
    path = tmp_path / "claims.key"
    create(path, new_keys("audit.example.com/claims"))
    note = seal(conn, Signer(load(str(path)), HighWaterMark(path.with_name("claims.key.mark"))))
    conn.commit()
    assert note is not None
    return Sealed(conn, str(load(str(path))[0].verifier), note)


def cosign(log: Sealed) -> None:
    """Adds the signature of a witness to the newest checkpoint."""
    stamp = 1_795_000_000
    signed = WITNESS.sign(f"cosignature/v1\ntime {stamp}\n{log.note.text}".encode())
    signature = Signature(WITNESS_KEY.name, WITNESS_KEY.key_id, stamp.to_bytes(8, "big") + signed)
    log.conn.execute("SELECT pgaudit.add_checkpoint(%s, %s)", (SIZE, str(merged(log.note, [signature]))))
    log.conn.commit()


def test_a_policy_with_witnesses(run: Run, log: Sealed, tmp_path: Path) -> None:
    """What its quorum asks for has to be there; then the level says so."""
    plain = log.policy(tmp_path / "plain", "quorum none")
    witnessed = log.policy(tmp_path / "witnessed", f"witness broker {WITNESS_KEY}", "quorum broker")
    assert "Assurance: signed." in run("verify", "--policy", plain).stdout
    missing = run("verify", "--policy", witnessed)
    assert (missing.returncode, missing.stdout.splitlines()[0]) == (
        1,
        "unsigned: no checkpoint has the signatures of witnesses that the policy asks for",
    )
    cosign(log)
    enough = run("verify", "--policy", witnessed)
    assert (enough.returncode, "Assurance: witnessed." in enough.stdout) == (0, True)


def test_several_keys_are_given_as_keys_show_prints_them(run: Run, log: Sealed) -> None:
    """One in each line: after a rotation there are several."""
    other = new_keys("audit.example.com/claims")[0].verifier
    assert "Assurance: signed." in run("verify", "--vkey", f"{other}\n{log.vkey}").stdout


def test_an_anchor_without_a_checkpoint_is_a_finding(run: Run, log: Sealed, tmp_path: Path) -> None:
    """Otherwise an attacker who empties the anchor would only lower the level."""
    anchor = tmp_path / "anchor"
    anchor.mkdir()
    empty = run("verify", "--vkey", log.vkey, "--anchor", f"file:{anchor}")
    assert (empty.returncode, empty.stdout.splitlines()[0].split(": ")[0]) == (1, "unanchored")
    (anchor / f"{SIZE:020}.checkpoint").write_text(str(log.note), encoding="utf-8")
    assert "Assurance: anchored." in run("verify", "--vkey", log.vkey, "--anchor", f"file:{anchor}").stdout


def test_an_anchor_that_does_not_answer_is_named(run: Run, log: Sealed) -> None:
    """Of several anchors, the message says which one."""
    result = run("verify", "--vkey", log.vkey, "--anchor", "http://127.0.0.1:1/claims")
    assert result.returncode == 2
    assert "the anchor http://127.0.0.1:1/claims cannot be read: it does not answer" in result.stderr


def test_the_newest_events_are_below_the_level(run: Run, log: Sealed) -> None:
    """The result says how many are not signed yet, though all but a few of them are in the tree."""
    record_persist_and_commit(log.conn, *events(300))
    seal(log.conn, None)
    log.conn.commit()
    result = run("verify", "--vkey", log.vkey)
    assert "Not signed yet: the newest 300 events.\nAssurance: signed." in result.stdout
    assert result.returncode == 0
    told = json.loads(run("verify", "--vkey", log.vkey, "--json").stdout)
    assert (told["level"], told["level_end"], told["end"]) == ("signed", SIZE, SIZE + 300)


def test_since_trusts_what_the_database_says_was_verified(run: Run, log: Sealed) -> None:
    """An owner can say so of an altered event: the result says what it has not compared, and a whole one finds it."""
    tamper(log.conn, EDIT.replace("BETWEEN %s AND %s", "= 7"))
    log.conn.execute("SELECT pgaudit.note_verification(0, %s, true, 'signed', 0, '[]')", [SIZE])
    log.conn.commit()
    part = run("verify", "--vkey", log.vkey, "--since")
    assert "Verified: 40 events and 1 checkpoint.\nNot compared: the first 2,560 events, which the" in part.stdout
    assert part.returncode == 0
    assert run("verify", "--vkey", log.vkey).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vkey", "audit.example.com/claims+0"], "--vkey: "),
        (["--policy", "no-such-file"], "No such file"),
        (["--policy", "/dev/null"], "the policy has no line `log VKEY`"),
        (["--policy", "/dev/null", "--vkey", "x"], "--policy and --vkey exclude each other"),
    ],
)
def test_what_cannot_be_checked_ends_with_2(run: Run, arguments: list[str], said: str) -> None:
    """A key or a policy that cannot be understood is no verdict about the log."""
    result = run("verify", *arguments)
    assert (result.returncode, said in result.stderr, result.stdout) == (2, True, ""), result.stderr


def test_a_sample_compares_some_events_and_verifies_the_whole_tree(run: Run, log: Sealed) -> None:
    """One of ten tiles and the 40 events behind them are compared; a tile that no event was read of is verified."""
    result = run("verify", "--vkey", log.vkey, "--sample", "10")
    assert result.returncode == 0
    assert f"Verified: {SIZE:,} events and 1 checkpoint.\nA sample: 296 events chosen" in result.stdout
    tamper(log.conn, "UPDATE pgaudit.tile SET hashes = set_byte(hashes, 8191, 255 - get_byte(hashes, 8191))")
    altered = run("verify", "--vkey", log.vkey, "--sample", "10", "--json")
    found = json.loads(altered.stdout)
    assert (altered.returncode, found["compared"]) == (1, 296)
    assert {0, 9 * 256} <= {finding["index"] for finding in found["findings"]}


def test_a_sample_finds_what_it_compares(run: Run, log: Sealed) -> None:
    """With one event altered in each tile, whichever is chosen; and each time others are chosen."""
    tamper(log.conn, EDIT.replace("index BETWEEN %s AND %s", "index % 256 = 255"))
    chosen: set[str] = set()
    for _ in range(8):
        result = run("verify", "--sample", "10")
        (line,) = re.findall("altered: event .+", result.stdout)
        chosen.add(line)
        assert result.returncode == 1
    assert len(chosen) > 1
