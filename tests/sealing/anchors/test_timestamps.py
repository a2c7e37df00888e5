"""Time stamps of a real authority: ``openssl ts`` behind HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgaudit.errors import AnchorFailed
from pgaudit.sealing.anchors.timestamps import TimeStamps
from pgaudit.sealing.notes import Signature, decode, encode, merged
from tests.support.anchor_servers import Reply, Request, TimeStampingAuthority, serving
from tests.support.anchors import OTHER_ROOT, anchor_of, checkpoint, submit


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeStampingAuthority:
    """An authority with a certificate of its own root."""
    return TimeStampingAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def anchor(authority: TimeStampingAuthority) -> Iterator[TimeStamps]:
    """An anchor on the authority."""
    with serving(authority.answer) as url:
        yield at(url, authority.roots)


def at(url: str, roots: Path) -> TimeStamps:
    """Returns the anchor on the authority at that URL, with the certificates to trust."""
    anchor: TimeStamps = anchor_of(f"rfc3161+{url}/tsr?roots={roots}", TimeStamps)
    return anchor


def test_a_receipt_proves_when_the_checkpoint_existed(anchor: TimeStamps, authority: TimeStampingAuthority) -> None:
    """It is verified here and by openssl, for the signed note and no other; later cosignatures change nothing."""
    receipt = submit(anchor, checkpoint(7)).text
    assert authority.verifies(decode(receipt), str(checkpoint(7)).encode())
    assert not authority.verifies(decode(receipt), str(checkpoint(8)).encode())
    cosigned = merged(checkpoint(7), [Signature("witness.example.com", b"1234", b"5678")])
    for note in (checkpoint(7), cosigned):
        assert abs(anchor.time_of(note, receipt) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_receipt_of_another_checkpoint_is_refused(anchor: TimeStamps) -> None:
    """Neither another root nor a changed byte is accepted."""
    receipt = submit(anchor, checkpoint(7)).text
    with pytest.raises(AnchorFailed, match="its time stamp is not valid: Mismatch between messages"):
        anchor.time_of(checkpoint(7, OTHER_ROOT), receipt)
    token = bytearray(decode(receipt))
    token[-5] ^= 1
    with pytest.raises(AnchorFailed, match="its time stamp is not valid"):
        anchor.time_of(checkpoint(7), encode(bytes(token)))
    with pytest.raises(AnchorFailed, match="the receipt is not base64"):
        anchor.time_of(checkpoint(7), "nonsense!")


def test_a_replayed_answer_is_refused(authority: TimeStampingAuthority) -> None:
    """An answer has to repeat the number of the request."""
    replies = list[Reply]()

    def first(request: Request) -> Reply:
        replies.append(authority.answer(request))
        return replies[0]

    with serving(first) as url:
        submit(at(url, authority.roots), checkpoint(7))
        with pytest.raises(AnchorFailed, match="Nonce mismatch"):
            submit(at(url, authority.roots), checkpoint(7))


def test_an_authority_that_is_not_trusted_is_refused(anchor: TimeStamps, tmp_path: Path) -> None:
    """The time stamp of an authority below another root is worth nothing."""
    stranger = TimeStampingAuthority(tmp_path)
    with serving(stranger.answer) as url, pytest.raises(AnchorFailed, match="Error while verifying certificates"):
        submit(at(url, anchor.roots), checkpoint(7))


@pytest.mark.parametrize("reply", [Reply(), Reply(body=b"nonsense"), Reply(503)])
def test_nonsense_is_no_time_stamp(authority: TimeStampingAuthority, reply: Reply) -> None:
    """An anchor that answers 200 has not proved anything."""
    with serving(lambda _: reply) as url, pytest.raises(AnchorFailed, match=r"is not valid|503 Service Unavailable"):
        submit(at(url, authority.roots), checkpoint(7))


def test_the_file_with_certificates_is_needed(anchor: TimeStamps, tmp_path: Path) -> None:
    """Without it nothing can be verified."""
    with pytest.raises(AnchorFailed, match=r"cannot read .*missing.pem: No such file"):
        submit(at(anchor.url.removesuffix("/tsr"), tmp_path / "missing.pem"), checkpoint(7))
    (tmp_path / "empty.pem").touch()
    with pytest.raises(AnchorFailed, match=r"empty.pem has no certificates"):
        submit(at(anchor.url.removesuffix("/tsr"), tmp_path / "empty.pem"), checkpoint(7))
