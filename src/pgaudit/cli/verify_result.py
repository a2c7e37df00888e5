"""How the result of ``pgaudit verify`` is printed: as JSON, or in sentences."""

from dataclasses import asdict
from typing import Any, Final

from pgaudit.cli.terminal import say
from pgaudit.sealing.verify import Level, Verification

SHOWN: Final = 20  # findings


def is_verified(result: Verification) -> bool:
    """Returns whether there was something to verify, now or earlier, and nothing was found."""
    return result.count == 0 and result.end > 0


def as_json(result: Verification) -> dict[str, Any]:
    """Returns the result as an object."""
    return {
        "verified": is_verified(result),
        "first": result.first,
        "end": result.end,
        "compared": result.compared,
        "sealed": result.sealed,
        "unsealed": result.unsealed,
        "checkpoints": result.checkpoints,
        "anchored": result.anchored,
        "level": result.level.name.lower(),
        "level_end": result.level_end,
        "level_means": result.level.sentence,
        "findings": [asdict(finding) for finding in result.findings],
        "count": result.count,
    }


def tell(result: Verification) -> None:
    """Prints the result in sentences."""
    for finding in result.findings[:SHOWN]:
        say(f"{finding.name}: {finding.message}")
    if result.count > SHOWN:
        say(f"… and {result.count - SHOWN:,} more: see --json")
    if result.count:
        say(f"Not verified: {counted(result.count, 'finding')}.")
        return
    if result.level is Level.NOTHING:
        earlier = f"Nothing was appended since the first {counted(result.first, 'event')} were verified."
        say(earlier if result.first else "There was nothing to verify.")
        return
    events, checkpoints = counted(result.end - result.first, "event"), counted(result.checkpoints, "checkpoint")
    say(f"Verified: {events} and {checkpoints}.")
    if result.first:
        say(f"Not compared: the first {counted(result.first, 'event')}, which the database says were verified before.")
    if result.compared < result.end - result.first:
        say(f"A sample: {counted(result.compared, 'event')} chosen at random were compared with what was sealed.")
    level = result.level.name.lower()
    if result.below_level:
        say(f"Not {level} yet: the newest {counted(result.below_level, 'event')}.")
    say(f"Assurance: {level}. {result.level.sentence}")


def counted(count: int, noun: str) -> str:
    """Returns a number and what it counts.

    >>> counted(1, "event"), counted(1200, "event")
    ('1 event', '1,200 events')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"
