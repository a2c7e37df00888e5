"""Verifying a log: its rows against their events, its tree against the rows, and what was signed against the tree.

=============  =======================================================================
``walk``       reads the log once, in the order of its tiles
``ahead``      reads what the events hash to, on several connections
``comparing``  names what differs between events and sealed leaves
``promises``   checkpoints of the database, of anchors and of the signer
``frontier``   the right edge of the tree, for its root at each size
``findings``   what can be found
=============  =======================================================================
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgaudit._driver import fetch
from pgaudit._schema import fingerprint
from pgaudit.errors import LogDamaged
from pgaudit.sealing.completeness import differences
from pgaudit.sealing.levels import Level
from pgaudit.sealing.notes import Note, VerifierKey
from pgaudit.sealing.policy import Policy
from pgaudit.sealing.tiles import WIDTH
from pgaudit.sealing.verify import promises
from pgaudit.sealing.verify.findings import Finding, Verification
from pgaudit.sealing.verify.walk import Walk

__all__ = ["Finding", "Level", "Verification", "since_last", "verify"]


LAST: Final = """
    SELECT least(coalesce((SELECT min(first_index) FROM pgaudit.failed_verifications),
                          (SELECT verified_end FROM pgaudit.sealing_stats), 0),
                 (SELECT tiled FROM pgaudit.log_ends()))
"""


def since_last(conn: psycopg.Connection[Any]) -> int:
    """Returns where the last verification has ended, at a complete tile; 0 if there was none.

    After one with findings, it is where that one has begun: what it found is looked at again until nothing is found.
    What was verified ahead of the tiles is verified again, because there was nothing sealed to compare it with.
    """
    index: int
    (index,) = fetch(conn, scalar_row, LAST)
    return index // WIDTH * WIDTH


def verify(  # noqa: PLR0913 - all but the first by name
    conn: psycopg.Connection[Any],
    *,
    keys: Sequence[VerifierKey] = (),
    policy: Policy | None = None,
    anchors: Mapping[str, Iterable[Note]] | None = None,
    first: int = 0,
    percent: float = 100,
    helpers: Sequence[psycopg.Connection[Any]] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Verifies the log from an index on, and that the schema is the installed one. A reader's rights are enough.

    :param keys: public keys of the log and of witnesses; without, no signature is checked.
    :param policy: in place of keys: those of the policy, and how many witnesses are enough.
    :param anchors: the checkpoints that were kept outside the database, by the name of the place.
    :param first: a multiple of 256; what is before it was verified earlier.
    :param percent: how much of the sealed events to compare, chosen at random. The tree and its checkpoints are
        verified as a whole; the index of targets only at 100.
    :param helpers: further connections in autocommit, on which hashes are computed ahead: one for each core to use.
    :param progress: is called with the number of events that were verified, and of those in all.
    """
    trusted = promises.Trusted(policy.keys if policy else keys, policy)
    expected: list[promises.Promise] = []
    findings: list[Finding] = []
    for name, notes in (anchors or {}).items():
        more, wrong = promises.anchored(notes, trusted, name)
        expected += [promise for promise in more if promise.checkpoint.size > first]
        findings += wrong
    try:
        walk = Walk(conn, first, trusted, expected, helpers=helpers, progress=progress, percent=percent)
    except LogDamaged as error:  # the tree before the first event
        findings.append(Finding("missing", str(error), first))
        result = Verification(first, first)
    else:
        result = walk.run()
    result.add(*findings)
    if percent >= 100:  # noqa: PLR2004 - all events
        result.add(*(Finding("incomplete", found.message, found.index) for found in differences(conn, first)))
    result.add(*(Finding("guard_disabled", difference) for difference in lasting_differences(conn)))
    return result


def lasting_differences(conn: psycopg.Connection[Any]) -> list[str]:
    """Returns how the schema differs from the installed one, at two looks: a partition may be just being created."""
    first = fingerprint.differences(conn)
    return [difference for difference in fingerprint.differences(conn) if difference in first] if first else []
