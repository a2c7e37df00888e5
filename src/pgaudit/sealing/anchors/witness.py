"""``witness+https://HOST/PATH?vkey=KEY``: a witness that cosigns checkpoints (C2SP ``tlog-witness``).

It remembers the last checkpoint of this log that it has seen, and signs a new one only when it gets the proof that the
log begins with that one: so no reader was shown another log, even if the signer and the DBA collude.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from pgaudit._anchor_urls import AnchorURL
from pgaudit.errors import AnchorFailed, InvalidNote, InvalidSettings
from pgaudit.sealing.anchors.anchor import Proof, Receipt, own_note, size_of
from pgaudit.sealing.anchors.transport import SUCCESS, Answer, meaning, send
from pgaudit.sealing.notes import SIZE, Note, Signature, VerifierKey, encode
from pgaudit.sealing.signing import COSIGNATURE, MLDSA44, signers

SIZE_TYPE: Final = "text/x.tlog.size"
MEANINGS: Final[dict[int, str]] = {
    HTTPStatus.FORBIDDEN: "it does not know the key of this log: give it the vkey that `pgaudit keys show` prints",
    HTTPStatus.NOT_FOUND: "it does not know this log: give it the vkey that `pgaudit keys show` prints",
    HTTPStatus.CONFLICT: "it has cosigned another checkpoint of that size: the log was forked",
    HTTPStatus.UNPROCESSABLE_ENTITY: "the checkpoint does not follow the one that it has cosigned: the log was forked",
}


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness, and its public key."""

    name: str
    url: str = field(repr=False)
    token: str = field(repr=False)
    key: VerifierKey

    @classmethod
    def of(cls, url: AnchorURL) -> "Witness":
        """Returns the anchor of a URL.

        :raises InvalidSettings: its key is not that of a witness.
        """
        try:
            key = VerifierKey.parse(url.options["vkey"])
        except InvalidNote as error:
            raise InvalidSettings(f"{url.name}: {error}") from None
        if key.kind not in {COSIGNATURE, MLDSA44}:
            raise InvalidSettings(f"{url.name}: {key} is the key of a log; a witness signs with a time")
        return cls(url.name, f"{url.location.rstrip('/')}/add-checkpoint", url.token, key)

    def submit(self, note: Note, proof: Proof, last: int) -> Receipt:
        """Has a checkpoint cosigned. If the witness knows another size than the database says, it is asked once more.

        :raises AnchorFailed: it does not sign.
        """
        answer = self.add_checkpoint(note, proof, last)
        if answer.status == HTTPStatus.CONFLICT and answer.content_type == SIZE_TYPE:
            answer = self.add_checkpoint(note, proof, size_in(answer.body, size_of(note)))
        if answer.status not in SUCCESS:
            advice = MEANINGS.get(answer.status)
            raise AnchorFailed(f"it answers {meaning(answer.status)}" + (f": {advice}" if advice else ""))
        return self.verified(note, answer.body)

    def check(self, note: Note, receipt: str) -> None:
        """Checks that a receipt is for that checkpoint.

        :raises AnchorFailed: it is not.
        """
        self.verified(note, receipt.encode())

    def add_checkpoint(self, note: Note, proof: Proof, old: int) -> Answer:
        """Sends a checkpoint with the proof that it follows that of the old size."""
        hashes = [encode(step) for step in proof(old)] if old else []
        body = "".join(f"{line}\n" for line in (f"old {old}", *hashes, "")) + str(own_note(note))
        return send(self.url, self.token, body.encode(), "text/plain; charset=utf-8")

    def verified(self, note: Note, body: bytes) -> Receipt:
        """Returns the witness's signatures of an answer.

        :raises AnchorFailed: there is none that is valid.
        """
        try:
            lines = [Signature.parse(line) for line in body.decode().removesuffix("\n").split("\n")]
            made = tuple(line for line in lines if self.key.made(line))
            if not signers(Note(note.text, made), [self.key]):
                raise AnchorFailed(f"its answer has no signature of {self.key.name}")
        except UnicodeDecodeError:
            raise AnchorFailed("its answer is no text") from None
        except InvalidNote as error:
            raise AnchorFailed(f"its answer is not valid: {error}") from None
        return Receipt(f"{made[-1]}\n", made[-1:])


def size_in(body: bytes, size: int) -> int:
    """Returns the size of the checkpoint that a witness has cosigned last.

    :raises AnchorFailed: it is none, or larger than the log.
    """
    text = body.decode("ascii", "replace").strip()
    if not SIZE.fullmatch(text):
        raise AnchorFailed("it answers 409 Conflict without a size")
    if int(text) > size:
        raise AnchorFailed(
            f"it has cosigned a checkpoint of {int(text):,} events, and the log has {size:,}: an older copy of the "
            "database is in use, or events were removed"
        )
    return int(text)
