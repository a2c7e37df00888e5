"""An archive of segments verifies itself: what was altered or is missing is named, with the first segment it is in."""

import gzip
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgaudit import streams
from pgaudit.sealing.keys import new_keys
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.signer import Signer
from pgaudit.sealing.tree import leaf_hash
from pgaudit.streams.segment_findings import VerifiedSegments
from pgaudit.streams.segment_storage import LocalStorage, open_storage
from pgaudit.streams.segment_verification import verify_segments
from pgaudit.streams.segments import Segment
from tests.streams.s3.conftest import Grow
from tests.support.command_line import Run
from tests.support.object_storage import copied
from tests.support.streams import append, send_all


@pytest.fixture
def policy(signer: Signer) -> Policy:
    """The policy that the log has to sign."""
    return Policy.of([key.verifier for key in signer.keys])


@pytest.fixture
def archive(ship: Grow, s3: Any, tmp_path: Path) -> Path:
    """A copy of an archive: 600 events in three segments."""
    ship(3, 590, 7)
    return copied(s3, tmp_path / "copy")


def segment_at(archive: Path, first: int) -> Path:
    """Returns the segment that begins with an event."""
    (path,) = archive.glob(f"{first:020d}-*.gz")
    return path


def checked(archive: Path, policy: Policy | None = None) -> VerifiedSegments:
    """Verifies a copy."""
    return verify_segments(LocalStorage(archive), policy)


def replace_content(path: Path, content: bytes, *, named: bool) -> Path:
    """Replaces a segment; with a name that fits its content, if asked."""
    segment = Segment.parse(path.name)
    assert segment is not None
    path.unlink()
    if named:
        digest = sha256(content).hexdigest()
        path = path.with_name(Segment(segment.first, segment.last, digest).name)
    path.write_bytes(content)
    return path


def forged(path: Path) -> bytes:
    """Returns a segment in which another claim was approved, with leaf hashes that fit."""
    lines = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        head, text = line.replace('"id": "1"', '"id": "99"').split(', "event": ', 1)
        index, rest = head.split(', "leaf_hash": ')
        stamp = rest.split(", ", 1)[1]
        lines.append(f'{index}, "leaf_hash": "{leaf_hash(text[:-1].encode()).hex()}", {stamp}, "event": {text}\n')
    return gzip.compress("".join(lines).encode())


def test_an_archive_is_verified_in_the_bucket_and_as_a_copy(
    archive: Path, policy: Policy, endpoint: str, signer: Signer
) -> None:
    """All events, names and signed roots fit together."""
    for found in (
        checked(archive, policy),
        verify_segments(open_storage(f"s3://open/claims?endpoint={endpoint}"), policy),
    ):
        assert (found.findings, found.segments, found.events, found.covered) == ([], 3, 600, 600)
        assert found.signed_by == [key.verifier for key in signer.keys]


def test_a_file_that_was_altered_is_named(archive: Path) -> None:
    """Its hash is not that of its name."""
    path = segment_at(archive, 3)
    replace_content(path, path.read_bytes() + b"x", named=False)
    assert checked(archive).findings[0].startswith(f"{path.name} was altered: its hash is not the one in its name")


def test_an_event_that_was_altered_is_named(archive: Path) -> None:
    """With a new name for the file, the event has not the hash of its line."""
    path = segment_at(archive, 3)
    text = gzip.decompress(path.read_bytes()).replace(b'"id": "1"', b'"id": "99"')
    path = replace_content(path, gzip.compress(text), named=True)
    assert checked(archive).findings[0] == (f"{path.name}: event 4 was altered: its hash is not that of its text")


def test_a_forged_segment_is_named(archive: Path, policy: Policy) -> None:
    """With new hashes everywhere, the root is not the signed one; the segment is between two checkpoints."""
    path = replace_content(segment_at(archive, 3), forged(segment_at(archive, 3)), named=True)
    found = checked(archive, policy)
    assert found.findings[0].startswith("the events before index 593 are not those that its checkpoint has signed")
    assert path.name in found.findings[0]
    assert found.covered == 3


def test_a_segment_that_is_missing_is_named(archive: Path) -> None:
    """The gap is named, and the segment behind it."""
    segment_at(archive, 3).unlink()
    assert checked(archive).findings == [f"before {segment_at(archive, 593).name}: events 3 to 592 are missing"]


def test_events_missing_in_a_segment_are_named(archive: Path) -> None:
    """A segment with fewer events than its name says."""
    path = segment_at(archive, 3)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path = replace_content(path, gzip.compress(b"".join(lines[:5] + lines[6:-1])), named=True)
    assert checked(archive).findings[:2] == [
        f"{path.name}: it has the events 3 to 591", f"before {path.name}: event 8 is missing",
    ]  # fmt: skip


def test_a_damaged_segment_is_named(archive: Path) -> None:
    """What cannot be read is said, and nothing follows from it."""
    path = replace_content(segment_at(archive, 3), b"nothing", named=True)
    assert checked(archive).findings == [f"{path.name}: it cannot be decompressed: BadGzipFile"]


def test_two_segments_of_one_event_have_to_agree(archive: Path) -> None:
    """A second segment with other events of the same indexes is not overlooked."""
    path = segment_at(archive, 3)
    content = forged(path)
    other = path.with_name(Segment(3, 592, sha256(content).hexdigest()).name)
    other.write_bytes(content)
    assert any("is not the one of an earlier segment" in finding for finding in checked(archive).findings)


def test_removed_checkpoints_are_noticed(archive: Path, policy: Policy) -> None:
    """With a policy, an archive without any checkpoint is not verified."""
    for path in (archive / "checkpoints").iterdir():
        path.unlink()
    assert checked(archive).findings == []
    assert checked(archive, policy).findings == [
        "no checkpoint covers its events: none was stored yet, or they were removed"
    ]


def test_a_checkpoint_of_another_key_is_refused(archive: Path) -> None:
    """Who can sign with a key of his own has not signed for the log."""
    stranger = Policy.of([key.verifier for key in new_keys("audit.example.com/claims")])
    found = checked(archive, stranger)
    assert "is not signed by a key that the policy has for this log" in found.findings[0]


@pytest.mark.usefixtures("at_once")
def test_an_archive_of_a_query_is_verified_as_a_part(
    dsn: str, admin: psycopg.Connection, s3: Any, endpoint: str, tmp_path: Path
) -> None:
    """Events that do not match are no gap; each event is compared with its hash."""
    streams.add(
        admin,
        "archive",
        to=f"s3://open/claims?endpoint={endpoint}",
        start=0,
        allow_private=True,
        query="target:claim:2",
    )
    append(dsn, 5)
    append(dsn, 5)
    send_all(dsn, "archive")
    archive = copied(s3, tmp_path / "copy")
    assert checked(archive).findings[0].endswith("events 0 to 1 are missing")
    found = verify_segments(LocalStorage(archive), is_part=True)
    assert (found.findings, found.events) == ([], 2)


def test_the_command_ends_with_0_1_or_2(archive: Path, signer: Signer, run: Run) -> None:
    """Verified, altered, and nothing to check."""
    keys = [f"--vkey={key.verifier}" for key in signer.keys]
    fine = run("verify-segments", str(archive), *keys)
    assert (fine.returncode, fine.stdout.splitlines()[-1]) == (0, "VERIFIED.")
    assert "The first 600 are those of a checkpoint of audit.example.com/claims, signed by" in fine.stdout
    assert "Not shown: who signed." in run("verify-segments", str(archive)).stdout
    (archive / "empty").mkdir()
    assert run("verify-segments", str(archive / "empty")).returncode == 2
    assert run("verify-segments", str(archive / "nowhere")).returncode == 2
    segment_at(archive, 3).unlink()
    bad = run("verify-segments", str(archive), *keys)
    assert (bad.returncode, "events 3 to 592 are missing" in bad.stdout) == (1, True)
