"""Witnesses: what they cosign, what they refuse, and what they answer when they know another size."""

from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from pgaudit.errors import AnchorFailed
from pgaudit.sealing import stored_tree, tree
from pgaudit.sealing.anchors.anchor import Proof, Receipt
from pgaudit.sealing.anchors.witness import Witness
from pgaudit.sealing.keys import new_keys
from pgaudit.sealing.notes import COSIGNATURE, MLDSA44, Checkpoint, Note, VerifierKey, merged
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.signing import sign, signers
from tests.sealing.anchors.conftest import Grow
from tests.support import anchor_servers
from tests.support.anchor_servers import Reply, serving
from tests.support.anchors import anchor_of, checkpoint, no_proof


@pytest.fixture(params=[COSIGNATURE, MLDSA44], ids=["ed25519", "ml-dsa-44"])
def witness(signer: Signer, request: pytest.FixtureRequest) -> anchor_servers.Witness:
    """A witness that knows the key of the log, with a key of each kind."""
    return anchor_servers.Witness(str(signer.keys[0].verifier), kind=request.param)


@pytest.fixture
def anchor(witness: anchor_servers.Witness) -> Iterator[Witness]:
    """An anchor on the witness."""
    with serving(witness.answer) as url:
        yield at(url, witness.vkey)


def at(url: str, vkey: str) -> Witness:
    """Returns the anchor on the witness of that URL and key."""
    anchor: Witness = anchor_of(f"witness+{url}/log?vkey={quote(vkey)}", Witness)
    return anchor


def proof_of(conn: psycopg.Connection, size: int) -> Proof:
    """Returns what proves that the log begins with another checkpoint."""
    tiled = stored_tree.tree_of(conn, size)
    return lambda old: tree.consistency_proof(old, size, tiled.node)


def submitted(anchor: Witness, conn: psycopg.Connection, note: Note, last: int) -> Receipt:
    """Sends a checkpoint of the log; returns the receipt."""
    return anchor.submit(note, proof_of(conn, int(note.text.split("\n")[1])), last)


def test_a_growing_log_is_cosigned(
    conn: psycopg.Connection, grow: Grow, anchor: Witness, witness: anchor_servers.Witness
) -> None:
    """The first checkpoint needs no proof, each further one has that of the last; the signatures are valid."""
    last = 0
    for count in (3, 300, 1):
        note = grow(count)
        receipt = submitted(anchor, conn, note, last)
        cosigned = merged(note, receipt.cosignatures)
        assert signers(cosigned, [VerifierKey.parse(witness.vkey)]) == [anchor.key]
        assert receipt.text == f"{receipt.cosignatures[0]}\n"
        last += count
    assert (witness.statuses, witness.size) == ([200, 200, 200], 304)


@pytest.mark.parametrize("last", [0, 2, 9])
def test_a_witness_that_knows_another_size_is_asked_once_more(
    conn: psycopg.Connection, grow: Grow, anchor: Witness, witness: anchor_servers.Witness, last: int
) -> None:
    """After a lost answer, or a restore, the database has another size than the witness, which answers 409."""
    submitted(anchor, conn, grow(5), 0)
    submitted(anchor, conn, grow(4), last)
    assert witness.statuses == [200, 409, 200]


def test_the_same_checkpoint_is_cosigned_again(
    conn: psycopg.Connection, grow: Grow, anchor: Witness, witness: anchor_servers.Witness
) -> None:
    """A lost answer can be asked for again."""
    note = grow(5)
    submitted(anchor, conn, note, 0)
    submitted(anchor, conn, note, 0)
    assert witness.statuses == [200, 409, 200]


def test_a_forked_checkpoint_is_refused(
    conn: psycopg.Connection, grow: Grow, signer: Signer, anchor: Witness, witness: anchor_servers.Witness
) -> None:
    """A log that was rewritten, and signed with the right key, does not follow what the witness has cosigned."""
    submitted(anchor, conn, grow(5), 0)
    forked = sign(Checkpoint(signer.origin, 9, bytes(32)), signer.keys)
    with pytest.raises(AnchorFailed, match=r"422 .*: the checkpoint does not follow .* forked"):
        anchor.submit(forked, lambda _: [bytes(32)] * 3, 5)
    same_size = sign(Checkpoint(signer.origin, 5, bytes(32)), signer.keys)
    with pytest.raises(AnchorFailed, match=r"409 Conflict: .* forked"):
        anchor.submit(same_size, lambda _: [], 5)
    assert witness.size == 5


def test_a_log_that_lost_events_is_not_sent_again(
    conn: psycopg.Connection, grow: Grow, anchor: Witness, witness: anchor_servers.Witness
) -> None:
    """A witness that has seen a larger log proves that this one is an older copy."""
    note = grow(5)
    submitted(anchor, conn, grow(4), 0)
    with pytest.raises(AnchorFailed, match=r"has cosigned a checkpoint of 9 events, and the log has 5: an older copy"):
        submitted(anchor, conn, note, 5)
    assert witness.statuses == [200, 409]


@pytest.mark.parametrize(("name", "status"), [("audit.example.com/claims", 403), ("another.example.com", 404)])
def test_a_log_that_the_witness_does_not_know_is_refused(anchor: Witness, name: str, status: int) -> None:
    """The message says what to give to the witness."""
    keys = new_keys(name)
    note = sign(Checkpoint(name, 5, bytes(32)), keys)
    with pytest.raises(AnchorFailed, match=f"it answers {status} .*: it does not know .* `pgaudit keys show`"):
        anchor.submit(note, no_proof, 0)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(), "not valid"),
        (Reply(body=b"nonsense\n"), "not a line with a signature"),
        (Reply(body=b"\xff\n"), "no text"),
        (Reply(409, b"many", "text/x.tlog.size"), "409 Conflict without a size"),
        (Reply(429), "429 Too Many Requests$"),
        (Reply(body=str(checkpoint(5).signatures[0]).encode() + b"\n"), "no signature of witness.example.com"),
    ],
)
def test_nonsense_is_no_cosignature(witness: anchor_servers.Witness, reply: Reply, message: str) -> None:
    """A witness that answers 200 has not proved anything."""
    with serving(lambda _: reply) as url, pytest.raises(AnchorFailed, match=message):
        at(url, witness.vkey).submit(checkpoint(5), no_proof, 0)


def test_a_signature_of_another_checkpoint_is_refused(
    conn: psycopg.Connection, grow: Grow, witness: anchor_servers.Witness
) -> None:
    """A witness that repeats what it has signed before has not signed this checkpoint."""
    replies = list[Reply]()

    def first(request: anchor_servers.Request) -> Reply:
        replies.append(witness.answer(request))
        return replies[0]

    with serving(first) as url:
        submitted(at(url, witness.vkey), conn, grow(5), 0)
        with pytest.raises(AnchorFailed, match=r"the signature of witness.example.com is not valid"):
            submitted(at(url, witness.vkey), conn, grow(4), 5)
