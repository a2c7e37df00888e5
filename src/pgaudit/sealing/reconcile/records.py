"""The lines that ``pg_waldump`` prints, read strictly.

It prints the prefix of a message and the name of a prepared transaction as they are. Both may contain line breaks, and
so whole lines that look like records: an end of a transaction that never was would hide an event. So each line must be
what ``pg_waldump`` writes, to the column, and a message must be as long as its record says.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from pgaudit.errors import WalUnreadable
from pgaudit.sealing.reconcile.segments import as_text

TIME: Final = rb"(\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC"
LINE: Final = re.compile(
    rb"rmgr: (LogicalMessage|Transaction) +len \(rec/tot\): ([ \d]{5,9}\d)/[ \d]{5,9}\d, tx: ([ \d]{9}\d), "
    rb"lsn: ([0-9A-F]{1,8})/([0-9A-F]{8}), prev [0-9A-F]{1,8}/[0-9A-F]{8}, desc: (.*)\n?"
)
MESSAGE: Final = re.compile(
    rb'MESSAGE (transactional|non-transactional), prefix "(.*)"; payload \((\d+) bytes\): ([0-9A-F ]*)'
)
END: Final = re.compile(rb"(COMMIT|ABORT)(?:_PREPARED (\d+):)? " + TIME + rb"((?:; .*)?)")
OTHERS: Final = re.compile(
    rb"PREPARE gid .*: " + TIME + rb"(?:; .*)?|ASSIGNMENT xtop \d+: subxacts:(?: \d+)+|INVALIDATION ?(?:; .*)?"
)
FURTHER_TIME: Final = re.compile(rb": " + TIME)
SUBTRANSACTIONS: Final = re.compile(rb"; subxacts:((?: \d+)+)")
RECORD_HEADER: Final = 24
MESSAGE_HEADER: Final = 24
SHORT_DATA: Final = 255  # bytes: up to here a byte has the length of the data, and above it four
# What some records carry besides: the origin of a replicated change, and the top transaction of a subtransaction.
EXTRAS: Final = frozenset({0, 3, 5, 8})


class Message(NamedTuple):
    """A transactional message."""

    xid: int
    lsn: int
    prefix: bytes
    content: bytes


class End(NamedTuple):
    """The end of a transaction, or of a savepoint that was rolled back, with its subtransactions that end with it."""

    xid: int
    lsn: int
    committed: bool
    at: datetime
    subtransactions: tuple[int, ...]


Record = Message | End


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yields the messages and ends of transactions in the lines.

    :raises WalUnreadable: a line is none that ``pg_waldump`` writes for a record.
    """
    position = 0
    for line in lines:
        if line.startswith(b"pg_waldump: first record is after ") or line in (b"", b"\n"):
            continue
        head = LINE.fullmatch(line)
        if not head:
            raise forged(position)
        kind, length, xid, high, low, text = head.groups()
        here = int(high, 16) << 32 | int(low, 16)
        if here <= position:
            raise forged(position)
        position = here
        record = _end(int(xid), here, text) if kind == b"Transaction" else _message(int(xid), here, int(length), text)
        if record:
            yield record


def _message(xid: int, here: int, length: int, text: bytes) -> Message | None:
    """Returns a transactional message; None for another one. Raises WalUnreadable if its length is another one."""
    found = MESSAGE.fullmatch(text)
    if not found:
        raise forged(here)
    kind, prefix, size, digits = found.groups()
    content = bytes.fromhex(digits.decode())
    data = MESSAGE_HEADER + len(prefix) + 1 + len(content)
    expected = RECORD_HEADER + (2 if data <= SHORT_DATA else 5) + data
    if len(content) != int(size) or length - expected not in EXTRAS:
        raise forged(here)
    return Message(xid, here, prefix, content) if kind == b"transactional" else None


def _end(xid: int, here: int, text: bytes) -> End | None:
    """Returns the end of a transaction; None for its other records. Raises WalUnreadable if it is no record of one."""
    found = END.fullmatch(text)
    if not found:
        if OTHERS.fullmatch(text):
            return None
        raise forged(here)
    outcome, prepared, at, more = found.groups()
    if FURTHER_TIME.search(more):
        raise forged(here)
    listed = SUBTRANSACTIONS.search(more)
    return End(
        xid=int(prepared or xid),
        lsn=here,
        committed=outcome == b"COMMIT",
        at=datetime.fromisoformat(f"{at.decode()}+00:00"),
        subtransactions=tuple(map(int, listed[1].split())) if listed else (),
    )


def forged(position: int) -> WalUnreadable:
    """Returns the error for a line that ``pg_waldump`` does not write."""
    return WalUnreadable(
        f"pg_waldump printed what is no record, at or after {as_text(position)}: a message or a prepared transaction "
        "has a line break in its name, perhaps to hide something. Look there, and go on behind it with --start"
    )
