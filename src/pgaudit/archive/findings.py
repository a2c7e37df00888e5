"""What can be wrong with an archive."""

from dataclasses import dataclass
from typing import Final

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, and what to do.

    :ivar name: ``slot_inactive``, ``altered`` …: for programs.
    """

    name: str
    message: str
    remedy: str


def numbered(indexes: list[int]) -> str:
    """Returns indexes for a sentence, the first of them.

    >>> numbered([3, 4, 9])
    '3, 4, 9'
    """
    more = f" and {len(indexes) - SHOWN:,} more" if len(indexes) > SHOWN else ""
    return ", ".join(str(index) for index in indexes[:SHOWN]) + more


def in_units(size: float) -> str:
    """Returns a number of bytes as people read it.

    >>> in_units(2_500_000), in_units(1_200)
    ('2.5 MB', '1.2 kB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1_000:  # noqa: PLR2004 - a unit is a thousand of the one before
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"
