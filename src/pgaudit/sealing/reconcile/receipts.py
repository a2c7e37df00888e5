"""From records of the WAL to receipts: the leaf hashes of the events whose transactions were committed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from pgaudit.sealing.reconcile.filter import Filter
from pgaudit.sealing.reconcile.records import End, Message, Record

PREFIX: Final = b"pgaudit:"
HASH_BYTES: Final = 32


class Receipt(NamedTuple):
    """What the WAL says of a committed event."""

    leaf_hash: bytes
    lsn: int
    xid: int
    committed_at: datetime


@dataclass(slots=True)
class Reader:
    """Follows transactions through the WAL. Holds the receipts of those that are open, and no others.

    :param database: number of the database whose receipts are wanted
    :param seen: gets the hash of each receipt, whether its transaction was committed or not
    """

    database: int
    seen: Filter | None = None
    committed: int = 0
    rolled_back: int = 0
    elsewhere: Counter[int] = field(default_factory=Counter[int])  # receipts by their database
    first_commit: datetime | None = None  # in the WAL, with or without receipts
    first_receipt: datetime | None = None  # when the first and the last event with a receipt were committed
    last_receipt: datetime | None = None
    _open: dict[int, list[Message]] = field(default_factory=dict[int, list[Message]])

    @property
    def unfinished(self) -> int:
        """How many receipts are of transactions that have not ended."""
        return sum(map(len, self._open.values()))

    def receipts(self, records: Iterable[Record]) -> Iterator[Receipt]:
        """Yields the receipts of each transaction that the records commit."""
        for record in records:
            if isinstance(record, Message):
                self._keep(record)
            else:
                yield from self._ended(record)

    def _keep(self, message: Message) -> None:
        """Keeps a receipt until its transaction ends. Other programs write messages, too."""
        database = message.prefix.removeprefix(PREFIX)
        if database == message.prefix or not database.isdigit() or len(message.content) != HASH_BYTES:
            return
        if int(database) == self.database:
            self._open.setdefault(message.xid, []).append(message)
            if self.seen is not None:
                self.seen.add(message.content)
        else:
            self.elsewhere[int(database)] += 1

    def _ended(self, end: End) -> Iterator[Receipt]:
        """Yields the receipts of a transaction and its subtransactions, if it was committed, and forgets them.

        A savepoint that was rolled back has an end of its own before that of its transaction.
        """
        messages = [each for xid in (end.xid, *end.subtransactions) for each in self._open.pop(xid, ())]
        if not end.committed:
            self.rolled_back += len(messages)
            return
        self.first_commit = self.first_commit or end.at
        self.committed += len(messages)
        for message in messages:
            self.first_receipt = self.first_receipt or end.at
            self.last_receipt = end.at
            yield Receipt(message.content, message.lsn, end.xid, end.at)
