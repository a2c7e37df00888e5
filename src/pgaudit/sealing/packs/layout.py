"""The names of the files of a pack, and how it writes many indexes."""

from array import array
from collections.abc import Iterator
from typing import Final

EVENTS: Final = "events.ndjson"
DESCRIPTION: Final = "pack.json"
POLICY: Final = "policy"
README: Final = "README.txt"
PROGRAM: Final = "verify.py"
CHECKPOINT: Final = "checkpoint"
COMPLETENESS: Final = "completeness.json"
ALWAYS: Final = frozenset({EVENTS, CHECKPOINT, DESCRIPTION, POLICY, README, PROGRAM})


def proof_path(index: int) -> str:
    """Returns the path of the proof of one event."""
    return f"proofs/{index}.tlog-proof"


class Indexes:
    """Ascending indexes, written as ranges: those of a whole log take no more room than one."""

    def __init__(self) -> None:
        self._bounds = array("q")  # first and last of each range

    def add(self, index: int) -> None:
        """Adds the next one."""
        if self._bounds and self._bounds[-1] == index - 1:
            self._bounds[-1] = index
        else:
            self._bounds.extend((index, index))

    def __str__(self) -> str:
        bounds = iter(self._bounds)
        return ",".join(
            str(first) if first == last else f"{first}-{last}" for first, last in zip(bounds, bounds, strict=True)
        )


def expanded(ranges: str) -> Iterator[int]:
    """Yields the indexes of a text with ranges.

    :raises ValueError: the text has another form, or its indexes do not ascend.

    >>> list(expanded("0-2,7"))
    [0, 1, 2, 7]
    """
    before = -1
    for part in ranges.split(",") if ranges else ():
        first, dash, last = part.partition("-")
        found = range(int(first), int(last if dash else first) + 1)
        if not found or found[0] <= before:
            raise ValueError(f"indexes that do not ascend: {part!r}")
        before = found[-1]
        yield from found
