"""Event ids: UUIDs of version 7, which sort by time."""

import time

from pgaudit.events.uuid7 import uuid7


def test_an_id_is_a_version_7_uuid_of_this_millisecond() -> None:
    """RFC 9562: version, variant, and Unix milliseconds in the first 48 bits."""
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_time_they_were_made() -> None:
    """The id of a later millisecond is greater, as UUID, text and bytes."""
    first = uuid7()
    while (later := uuid7()).int >> 80 == first.int >> 80:
        continue
    assert first < later
    assert str(first) < str(later)
    assert first.bytes < later.bytes


def test_ids_of_one_millisecond_differ() -> None:
    """Ids of the same millisecond differ in 74 random bits."""
    assert len({uuid7() for _ in range(10_000)}) == 10_000
