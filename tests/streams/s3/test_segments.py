"""A stream to S3: segments that are there once, with the checkpoint that covers them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from pgaudit import Settings, streams
from pgaudit.errors import InvalidStream
from pgaudit.sealing.sealer import seal
from pgaudit.sealing.signer import Signer
from pgaudit.streams.segments import Segment, unpacked
from tests.streams.s3.conftest import Grow
from tests.support.kills import send_until_killed
from tests.support.object_storage import objects
from tests.support.streams import append, send_all
from tests.support.tampering import tamper
from tests.support.waiting import wait_until_async
from tests.support.worker import working


def segments(client: Any, bucket: str = "open") -> list[tuple[int, int]]:
    """Returns first and last index of each segment, as their names say."""
    found = (Segment.parse(key.removeprefix("claims/")) for key in objects(client, bucket))
    return [(segment.first, segment.last) for segment in found if segment]


def indexes(client: Any) -> list[int]:
    """Returns the indexes of all events in the bucket."""
    return [line.index for key, content in objects(client).items() if key.endswith(".gz") for line in unpacked(content)]


def checkpoints(client: Any) -> list[str]:
    """Returns the names of the checkpoints in the bucket."""
    return [key for key in objects(client) if key.endswith(".checkpoint")]


def reason(conn: psycopg.Connection) -> str:
    """Returns state of the stream, and why it is so."""
    stream = streams.catalog.get_stream(conn, "archive")
    return f"{stream.state}: {stream.pause_reason or stream.error}"


def test_a_segment_is_named_for_what_it_has(s3: Any, ship: Grow) -> None:
    """The name has first and last index, and the hash of the file; each line has the hash of its text."""
    ship(3, 2)
    assert segments(s3) == [(0, 2), (3, 4)]
    for key, content in objects(s3).items():
        if segment := Segment.parse(key.removeprefix("claims/")):
            assert segment.is_name_of(content)
            assert all(line.is_intact for line in unpacked(content))


def test_a_segment_has_the_checkpoint_that_covers_it(s3: Any, ship: Grow, admin: psycopg.Connection) -> None:
    """Beside each segment is the signed note of the smallest checkpoint that covers it, as the log has it."""
    ship(3, 2)
    assert checkpoints(s3) == [f"claims/checkpoints/{size:020d}.checkpoint" for size in (3, 5)]
    (note,) = admin.execute("SELECT note FROM pgaudit.checkpoint WHERE size = 3").fetchone() or ("",)
    assert objects(s3)[checkpoints(s3)[0]].decode() == note


def test_a_segment_ends_where_a_checkpoint_does(
    dsn: str, s3: Any, ship: Grow, admin: psycopg.Connection, signer: Signer
) -> None:
    """Events that no checkpoint covers yet wait for the next one."""
    ship(3)
    append(dsn, 2)
    assert seal(admin, signer) is not None
    append(dsn, 2)
    send_all(dsn, "archive")
    assert segments(s3) == [(0, 2), (3, 4)]
    assert seal(admin, signer) is not None
    send_all(dsn, "archive")
    assert segments(s3) == [(0, 2), (3, 4), (5, 6)]


def test_a_log_that_is_not_signed_is_sent_too(s3: Any, ship: Grow) -> None:
    """Without signatures, there are segments and no checkpoints."""
    ship(3, is_signed=False)
    assert (segments(s3), checkpoints(s3)) == ([(0, 2)], [])


async def test_a_worker_lets_events_linger(dsn: str, settings: Settings, s3: Any, endpoint: str) -> None:
    """A segment is sent when it is full, or when its oldest event has waited for the seconds of the URL."""
    append(dsn, 7)
    with psycopg.connect(dsn) as conn:
        streams.add(
            conn, "archive", to=f"s3://open/claims?endpoint={endpoint}&linger=1&segment=5", start=0, allow_private=True
        )
    async with working(settings):
        await wait_until_async("two segments are there", lambda: segments(s3) == [(0, 4), (5, 6)])


def test_a_segment_that_is_full_does_not_linger(dsn: str, admin: psycopg.Connection, s3: Any, endpoint: str) -> None:
    """Events of a full segment are sent at once; the others wait for more."""
    streams.add(
        admin, "archive", to=f"s3://open/claims?endpoint={endpoint}&linger=3600&segment=5", start=0, allow_private=True
    )
    append(dsn, 7)
    send_all(dsn, "archive")
    assert segments(s3) == [(0, 4)]
    append(dsn, 3)
    send_all(dsn, "archive")
    assert segments(s3) == [(0, 4), (5, 9)]


def test_events_of_a_wrong_clock_do_not_linger(dsn: str, admin: psycopg.Connection, s3: Any, endpoint: str) -> None:
    """They were appended a year ahead, before the clock was set back: they do not wait for that time to come again."""
    streams.add(admin, "archive", to=f"s3://open/claims?endpoint={endpoint}", start=0, allow_private=True)
    append(dsn, 2)
    tamper(admin, "UPDATE pgaudit.audit_log SET persisted_at = persisted_at + interval '1 year'")
    send_all(dsn, "archive")
    assert segments(s3) == [(0, 1)]


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_worker_that_is_killed_leaves_no_event_twice(
    dsn: str, s3: Any, ship: Grow, sign: Callable[[], None], moment: int
) -> None:
    """SIGKILL before and after each object and each move of the position; then there are more events than before."""
    ship(2)
    append(dsn, 5)
    sign()
    is_killed = send_until_killed(dsn, "archive", moment)
    assert is_killed == (moment <= 6)
    ship(4)
    assert indexes(s3) == list(range(11))
    assert checkpoints(s3)[-1] == f"claims/checkpoints/{11:020d}.checkpoint"


def test_a_rewound_stream_puts_what_is_missing(s3: Any, ship: Grow, dsn: str, admin: psycopg.Connection) -> None:
    """What is there stays, and nothing is there twice; what was lost is put again."""
    ship(3, 2, 4)
    before = objects(s3)
    lost = next(key for key in before if f"{3:020d}-" in key)
    s3.delete_object(Bucket="open", Key=lost)
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert objects(s3) == before


def test_a_restored_backup_overwrites_nothing(
    dsn: str, admin: psycopg.Connection, backup: Callable[[], str], s3: Any, ship: Grow
) -> None:
    """After a restore, the log goes on with other events: the stream is paused, and the bucket stays as it is."""
    ship(2, is_signed=False)
    admin.close()
    restored = backup()
    append(dsn, 3)
    send_all(dsn, "archive")
    before = objects(s3)
    append(restored, 1)
    send_all(restored, "archive")
    with psycopg.connect(restored, autocommit=True) as conn:
        assert reason(conn).startswith("paused: s3://open/claims/ has another event with the index 2 than the log")
        assert objects(s3) == before
        streams.rewind(conn, "archive", 2)
        streams.resume(conn, "archive")
    send_all(restored, "archive")
    assert segments(s3) == [(0, 1), (2, 2), (2, 4)]


def test_a_segment_that_was_altered_is_named(dsn: str, admin: psycopg.Connection, s3: Any, ship: Grow) -> None:
    """When a stream is rewound and meets an object that is not what its name says, it is paused."""
    ship(3)
    key = next(key for key in objects(s3) if key.endswith(".gz"))
    s3.put_object(Bucket="open", Key=key, Body=b"other")
    streams.rewind(admin, "archive", 0)
    send_all(dsn, "archive")
    assert reason(admin) == f"paused: s3://open/{key} was altered: its hash is not the one in its name"


def test_a_forked_checkpoint_is_refused(
    dsn: str, admin: psycopg.Connection, s3: Any, ship: Grow, signer: Signer
) -> None:
    """Another checkpoint of the same size is not overwritten."""
    ship(3)
    append(dsn, 2)
    note = seal(admin, signer)
    key = f"claims/checkpoints/{5:020d}.checkpoint"
    s3.put_object(Bucket="open", Key=key, Body=str(note).replace("\n5\n", "\n6\n").encode())
    send_all(dsn, "archive")
    assert "is another checkpoint: the log was forked, or two logs share the prefix" in reason(admin)


def test_objects_are_locked_for_the_days_of_the_url(
    dsn: str, admin: psycopg.Connection, s3: Any, endpoint: str
) -> None:
    """Nobody can delete a segment before its retention ends."""
    streams.add(
        admin,
        "archive",
        to=f"s3://locked/claims?endpoint={endpoint}&segment=3&retain=2557",
        start=0,
        allow_private=True,
    )
    append(dsn, 3)
    send_all(dsn, "archive")
    (key,) = objects(s3, "locked")
    head = s3.head_object(Bucket="locked", Key=key)
    kept = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert (head["ObjectLockMode"], kept > timedelta(days=2556)) == ("COMPLIANCE", True)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="locked", Key=key, VersionId=head["VersionId"])


def test_an_archive_has_no_other_form(admin: psycopg.Connection) -> None:
    """Only the native form has the text that the hash covers."""
    with pytest.raises(InvalidStream, match="s3 has events in the form native alone"):
        streams.add(admin, "archive", to="s3://open/claims", form="ocsf")
