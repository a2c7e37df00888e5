"""``s3://BUCKET/PREFIX?linger=60&segment=10000&retain=2557``: segments, and the signed checkpoints that cover them.

A segment is sent when it has ``segment`` events, or when the oldest of them is ``linger`` seconds old. In a signed log
it ends where a checkpoint ends, and the checkpoint is stored beside it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from pgaudit.streams.destinations.addresses import check_hosts
from pgaudit.streams.destinations.batching import BatchingDestination, is_set_back
from pgaudit.streams.destinations.deduplication import missing
from pgaudit.streams.destinations.destination import Limits
from pgaudit.streams.outcomes import DestinationRefused, Receipt
from pgaudit.streams.request import Request
from pgaudit.streams.s3_bucket import Bucket
from pgaudit.streams.segments import Segment, checkpoint_name, packed, unpacked
from pgaudit.trail.entry import Entry

HTTPS: Final = 443
LINGER_SECONDS: Final = 60
SEGMENT_EVENTS: Final = 10_000
SEGMENT_BYTES: Final = 32_000_000
SEALING_PATIENCE: Final = timedelta(minutes=10)  # then a segment is sent without its checkpoint
LOOK_AGAIN: Final = timedelta(seconds=2)


def open_destination(request: Request) -> "Segments":
    """Returns the bucket of a stream.

    :raises DestinationRefused: AWS's variables and files cannot be used, or the endpoint is not allowed.
    """
    return Segments(request, open_bucket(request))


def open_bucket(request: Request) -> Bucket:
    """Returns the bucket of a stream, once the endpoint was checked that AWS's variables and files may name, too.

    :raises DeliveryFailed: the endpoint has no address now.
    :raises DestinationRefused: AWS's variables and files cannot be used, or the endpoint is not allowed.
    """
    bucket = Bucket.of(request.url)
    endpoint = urlsplit(bucket.endpoint)
    if endpoint.scheme != "https" and not request.allow_private:
        raise DestinationRefused(
            f"what is sent to the endpoint {endpoint.hostname} can be read and changed on its way: use one with https, "
            "or, in a network of your own, add the stream with --allow-private"
        )
    check_hosts(endpoint.netloc.rpartition("@")[2], HTTPS, allow_private=request.allow_private)
    return bucket


class Segments(BatchingDestination):
    """Puts segments and checkpoints into a bucket; it overwrites nothing."""

    def __init__(self, request: Request, bucket: Bucket) -> None:
        super().__init__()
        self.limits = Limits(request.url.number("segment", SEGMENT_EVENTS), SEGMENT_BYTES)
        self._linger = timedelta(seconds=request.url.number("linger", LINGER_SECONDS))
        self._request = request
        self._checkpoints = request.checkpoints
        self._bucket = bucket

    def ready(self, entries: Sequence[Entry], now: datetime, *, is_full: bool) -> int:
        """Returns the number of events that a checkpoint covers, once the oldest has lingered or the chunk is full."""
        lingered = entries[0].persisted_at + self._linger
        if is_set_back(entries[0].persisted_at, now):
            return self.release(len(entries))
        if now < lingered and not is_full:
            return self.wait(entries, lingered)
        size = self._checkpoints.size() if self._checkpoints else 0
        covered = sum(entry.index < size for entry in entries)
        if size and not covered and now < lingered + SEALING_PATIENCE:
            return self.wait(entries, now + LOOK_AGAIN)
        return self.release(covered or len(entries))

    def send(self, entries: Sequence[Entry]) -> Receipt:
        """Puts the events that the bucket does not have, and the checkpoint that covers them."""
        first, last = entries[0].index, entries[-1].index
        held = dict(self._held(first, last))
        rest = missing(entries, held, str(self._bucket), self._request)
        size = 0
        for run in runs(entries, rest):
            segment, content = packed(run)
            self._bucket.put(segment.name, content, "application/gzip")
            size += len(content)
        self._cover(last + 1)
        return Receipt(size)

    def check(self) -> None:
        """Checks that the bucket can be listed."""
        next(iter(self._bucket.names(page=1)), None)

    def close(self) -> None:
        """Closes connections."""
        self._bucket.close()

    def _held(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yields index and hash of the events of this range in segments that begin in it.

        :raises DestinationRefused: one of them was altered.
        """
        for name in self._bucket.names(f"{first:020d}", page=10):
            segment = Segment.parse(name)
            if segment is None or segment.first > last:
                return
            content = self._bucket.get(name)
            if not segment.is_name_of(content):
                raise DestinationRefused(f"{self._bucket}{name} was altered: its hash is not the one in its name")
            yield from ((line.index, line.stated) for line in unpacked(content) if line.index <= last)

    def _cover(self, size: int) -> None:
        """Puts the smallest checkpoint that covers ``size`` events, if there is one.

        :raises DestinationRefused: the bucket has another one of its size.
        """
        found = self._checkpoints.covering(size) if self._checkpoints else None
        if found is None:
            return
        name, note = checkpoint_name(found[0]), found[1]
        if not self._bucket.put(name, note.encode(), "text/plain; charset=utf-8"):
            there = self._bucket.get(name).decode("utf-8", "replace")
            if there.partition("\n\n")[0] != note.partition("\n\n")[0]:  # signatures may have been added
                raise DestinationRefused(
                    f"{self._bucket}{name} is another checkpoint: the log was forked, or two logs share the prefix"
                )


def runs(entries: Sequence[Entry], rest: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yields those of the events that are left, in runs that follow each other in the chunk."""
    left = {entry.index for entry in rest}
    run: list[Entry] = []
    for entry in entries:
        if entry.index in left:
            run.append(entry)
        elif run:
            yield run
            run = []
    if run:
        yield run
