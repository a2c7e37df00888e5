"""The lines of ``pg_waldump``: what they say, and that nothing else is taken for one of them."""

from datetime import UTC, datetime

import pytest

from pgaudit.errors import WalUnreadable
from pgaudit.sealing.reconcile.records import End, Message, records

AT = "2026-01-31 12:00:00.000001 UTC"
COMMITTED, ABORTED = True, False
MOMENT = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
HASH = bytes(range(32))
RECEIPT = f'MESSAGE transactional, prefix "pgaudit:5"; payload (32 bytes): {HASH.hex(" ").upper()}'


def line(text: str, *, kind: str = "Transaction", xid: int = 7, lsn: str = "0/0000A000", length: int = 34) -> bytes:
    """Returns a line as pg_waldump prints it."""
    return (
        f"rmgr: {kind:<11} len (rec/tot): {length:6}/{length:6}, tx: {xid:10}, lsn: {lsn}, prev 0/00009000, "
        f"desc: {text}\n"
    ).encode()


def message(text: str = RECEIPT, length: int = 92, lsn: str = "0/0000A000") -> bytes:
    """Returns the line of a message."""
    return line(text, kind="LogicalMessage", length=length, lsn=lsn)


@pytest.mark.parametrize("extra", [0, 3, 5, 8])
def test_a_receipt(extra: int) -> None:
    """Prefix and content are read; the record may also name an origin, or the transaction of a subtransaction."""
    assert list(records([message(length=92 + extra)])) == [Message(7, 0xA000, b"pgaudit:5", HASH)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"COMMIT {AT}", End(7, 0xA000, COMMITTED, MOMENT, ())),
        (
            f"COMMIT {AT}; rels: base/5/1; subxacts: 8 9; inval msgs: catcache 21; sync",
            End(7, 0xA000, COMMITTED, MOMENT, (8, 9)),
        ),
        (f"COMMIT {AT}; origin: node 1, lsn 0/1, at {AT}", End(7, 0xA000, COMMITTED, MOMENT, ())),
        (f"COMMIT_PREPARED 12: {AT}; subxacts: 13", End(12, 0xA000, COMMITTED, MOMENT, (13,))),
        (f"ABORT {AT}; subxacts: 8", End(7, 0xA000, ABORTED, MOMENT, (8,))),
        (f"ABORT_PREPARED 12: {AT}", End(12, 0xA000, ABORTED, MOMENT, ())),
    ],
)
def test_ends_of_transactions(text: str, expected: End) -> None:
    """A prepared transaction is named by the number in the text."""
    assert list(records([line(text)])) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        f"PREPARE gid a b: {AT}; subxacts: 8",
        "ASSIGNMENT xtop 7: subxacts: 8 9",
        "INVALIDATION ; inval msgs: catcache 1",
    ],
)
def test_other_records_of_transactions_are_passed_over(text: str) -> None:
    """They end nothing."""
    assert (
        list(records([b"pg_waldump: first record is after 0/1, at 0/28, skipping over 40 bytes\n", line(text)])) == []
    )


@pytest.mark.parametrize(
    "forged",
    [
        b"x\n",
        line(f"ABORT {AT}: {AT}"),
        line(f"ABORT {AT}; x: {AT}"),
        line("ABORT"),
        line(f"ABORT {AT}").replace(b"tx:          7", b"tx: 7"),
        line(f"ABORT {AT}", kind="Heap"),
        line("PREPARE gid a"),
        message(length=93),
        message(RECEIPT.replace("32 bytes", "31 bytes")),
        message('MESSAGE transactional, prefix "a"; payload (0 bytes): ', length=400),
        message('MESSAGE transactional, prefix "a'),
        b"rmgr: Transaction\n",
    ],
)
def test_a_line_that_is_no_record_is_refused(forged: bytes) -> None:
    """A prefix or a name with a line break leaves such lines before or behind the one that it forges."""
    with pytest.raises(WalUnreadable, match="what is no record"):
        list(records([message(lsn="0/00001000"), *forged.splitlines(keepends=True)]))


def test_records_that_go_back_are_refused() -> None:
    """The WAL is read forwards."""
    lines = [line(f"ABORT {AT}", lsn=lsn) for lsn in ("0/0000B000", "0/0000A000")]
    with pytest.raises(WalUnreadable):
        list(records(lines))
