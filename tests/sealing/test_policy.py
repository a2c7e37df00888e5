"""Policies: what can be written, what is refused with its line, and who has to sign."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgaudit.errors import InvalidPolicy, PackAltered
from pgaudit.sealing.notes import COSIGNATURE, ED25519, MLDSA44, Checkpoint, Note, Signature, VerifierKey, merged
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.signing import SigningKey, sign

LOG = SigningKey("audit.example.com/claims", ED25519, bytes(range(32)))
ROTATED = SigningKey(LOG.name, ED25519, bytes(32))
QUANTUM = SigningKey(LOG.name, MLDSA44, bytes(32))
CHECKPOINT = Checkpoint(LOG.name, 5, bytes(32))


class Witness:
    """A witness with an Ed25519 key."""

    def __init__(self, name: str) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(name.encode().rjust(32))
        self.vkey = VerifierKey(f"{name}.example", COSIGNATURE, self.key.public_key().public_bytes_raw())

    def cosign(self, text: str) -> Signature:
        """Returns the witness's signature of a checkpoint."""
        stamp = int(time.time())
        blob = self.key.sign(f"cosignature/v1\ntime {stamp}\n{text}".encode())
        return Signature(self.vkey.name, self.vkey.key_id, stamp.to_bytes(8, "big") + blob)


BROKER, INSURER, LAWYER = (Witness(name) for name in ("broker", "insurer", "lawyer"))
WITNESSES = f"""\
# Who has to have seen the log
log {LOG.verifier} https://audit.example.com
witness broker {BROKER.vkey} https://broker.example
witness insurer {INSURER.vkey}
witness lawyer\t{LAWYER.vkey}

group partners any broker insurer
group most 2 broker insurer lawyer
group everyone all partners lawyer
"""


def cosigned(*witnesses: Witness) -> Note:
    """Returns a checkpoint that the log and these witnesses have signed."""
    note = sign(CHECKPOINT, [LOG])
    return merged(note, [each.cosign(note.text) for each in witnesses])


@pytest.mark.parametrize(
    ("quorum", "enough", "too_few"),
    [
        ("none", [(), (BROKER,)], []),
        ("lawyer", [(LAWYER,), (BROKER, LAWYER)], [(), (BROKER, INSURER)]),
        ("partners", [(BROKER,), (INSURER,), (BROKER, INSURER)], [(), (LAWYER,)]),
        ("most", [(BROKER, LAWYER), (BROKER, INSURER, LAWYER)], [(), (BROKER,), (LAWYER, LAWYER)]),
        ("everyone", [(BROKER, LAWYER), (INSURER, LAWYER)], [(LAWYER,), (BROKER, INSURER)]),
    ],
)
def test_a_quorum_is_reached_by_the_right_witnesses(
    quorum: str, enough: list[tuple[Witness, ...]], too_few: list[tuple[Witness, ...]]
) -> None:
    """A witness, any of a group, a number, or all of a group of groups."""
    policy = Policy.parse(f"{WITNESSES}quorum {quorum}\n")
    for witnesses in enough:
        assert policy.check(cosigned(*witnesses)) == [LOG.verifier, *(each.vkey for each in witnesses)]
    for witnesses in too_few:
        with pytest.raises(PackAltered, match=rf"lacks witnesses.*asks for {quorum}"):
            policy.check(cosigned(*witnesses))


def test_a_cosignature_of_another_checkpoint_does_not_count() -> None:
    """It is refused, though the quorum does not need it."""
    note = sign(CHECKPOINT, [LOG])
    forged = merged(note, [BROKER.cosign(note.text.replace("\n5\n", "\n6\n"))])
    with pytest.raises(PackAltered, match=r"broker.example is not valid"):
        Policy.parse(f"{WITNESSES}quorum none\n").check(forged)


def test_any_key_of_the_log_may_have_signed() -> None:
    """An old one, a new one, or one of ML-DSA-44; no other, and none for another log."""
    policy = Policy.of([LOG.verifier, ROTATED.verifier, QUANTUM.verifier])
    assert Policy.parse(str(policy)) == policy
    for keys in ([LOG], [ROTATED], [QUANTUM], [LOG, QUANTUM]):
        assert policy.check(sign(CHECKPOINT, keys)) == [key.verifier for key in keys]
    with pytest.raises(PackAltered, match="not signed by a key"):
        Policy.of([ROTATED.verifier]).check(sign(CHECKPOINT, [LOG]))
    with pytest.raises(PackAltered, match="not signed by a key"):
        policy.check(sign(Checkpoint("audit.example.com/other", 5, bytes(32)), [LOG]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("logs x", "line 10 .*write `log VKEY"),
        ("log", "line 10 .*write `log VKEY"),
        ("quorum", "line 10 .*write `log VKEY"),
        ("quorum none none", "line 10 .*write `log VKEY"),
        ("group g any", "line 10 .*write `log VKEY"),
        ("quorum nobody", "line 10 .*nobody is not defined above"),
        ("group g any later", "line 10 .*later is not defined above"),
        ("group g any g", "line 10 .*g is not defined above"),
        ("group g 3 broker lawyer", "line 10 .*any, all, or 1 to 2 .*not '3'"),
        ("group g 0 broker", "line 10 .*any, all, or 1 to 1"),
        ("group g 01 broker", "line 10 .*any, all, or 1 to 1"),
        ("group g any broker broker", "line 10 .*a member twice"),
        ("group broker any lawyer", "line 10 .*the name broker is taken"),
        ("group none any lawyer", "line 10 .*the name none is taken"),
        (f"witness again {BROKER.vkey}", "line 10 .*has this key already"),
        (f"witness own {VerifierKey('x', COSIGNATURE, LOG.verifier.public)}", "line 10 .*has this key already"),
        (f"log {LOG.verifier}", "line 10 .*has this key already"),
        (f"witness log {ROTATED.verifier}", "line 10 .*key of a witness is Ed25519 with a time or ML-DSA-44"),
        (f"log {VerifierKey('x', COSIGNATURE, bytes(31) + b'1')}", "line 10 .*key of a log is Ed25519 or ML-DSA-44"),
        (f"log {VerifierKey('x', ED25519, bytes(31))}", "line 10 .*key of a log"),
        (f"log {str(ROTATED.verifier)[:-2]}", "line 10 .*base64"),
        ("log x+00000000+AQ==", "line 10 .*does not match"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_line(line: str, reason: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidPolicy, match=reason):
        Policy.parse(f"{WITNESSES}{line}\nquorum none\n")


def test_a_policy_has_one_quorum_and_a_log() -> None:
    """Neither may be left out, and the quorum is not said twice."""
    with pytest.raises(InvalidPolicy, match="no line `quorum NAME`"):
        Policy.parse(WITNESSES)
    with pytest.raises(InvalidPolicy, match="no line `log VKEY`"):
        Policy.parse("quorum none\n")
    with pytest.raises(InvalidPolicy, match=r"line 2 .*one quorum"):
        Policy.parse("quorum none\nquorum none\n")
