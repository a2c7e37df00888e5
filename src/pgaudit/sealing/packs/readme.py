"""The text of a pack for people who have never heard of it."""

from typing import Final

from pgaudit.sealing.completeness.offline import AllEvents
from pgaudit.sealing.packs.description import Description

TEXT: Final = """\
A PACK OF AUDIT EVENTS

What this is
  {count} of an audit log, exactly as the log stores them, one in each line of
  events.ndjson, and the proof that they are in the log, unchanged and at their place.
  The log is called {origin}. Its first {size} events were
  sealed together: that is what the signed checkpoint states.
  {query}

Check it
  python3 verify.py --policy FILE

  FILE has the public key of the log. Ask someone whom you trust to know it, and who
  did not give you this pack. The program is one file that needs Python 3.8 or later and
  nothing else; it is written to be read. Its exit code is 0 if everything is
  verified, 1 if not, 2 if it could not check. If you do not trust the copy in this
  pack, take verify.py from a release of pgaudit, where it is in
  pgaudit/sealing/packs; it takes the path of a pack. With pgaudit installed,
  `pgaudit verify-pack PACK --policy FILE` does the same with other code.

What it shows
  - The events are, byte for byte, those that the owner of the key has sealed.
  - Each has the index that pack.json lists: nothing was put in or swapped.
  - {all_events}

What it does not show
  - Who signed, if you use the file "policy" of this pack in place of your own.
  - That what the events say is true: only that it has not been changed since.
{not_all_events}\

Files
  events.ndjson      the events
  checkpoint         the signed checkpoint (C2SP tlog-checkpoint)
  {files}
  policy             the public keys of the log, as the sender knows them
  pack.json          query, counts, indexes, and the SHA-256 of each file
  verify.py          the program

Made by pgaudit {version}.
"""
FILES: Final = {
    "proofs": "proofs/            a proof for each event (C2SP tlog-proof)",
    "tiles": "tile/              the hashes of the tree (C2SP tlog-tiles)",
}
COMPLETE: Final = "\n  completeness.json  day by day, which events the target has"


def readme_of(about: Description, origin: str, shown: AllEvents | None = None) -> str:
    """Returns the text.

    :param shown: what the proof of a complete pack shows.
    """
    whole = not about.query
    return TEXT.format(
        count="1 event" if about.count == 1 else f"{about.count:,} events",
        origin=origin,
        size=f"{about.checkpoint_size:,}",
        query="It has all of them." if whole else f"The query was: {ascii(about.query)[1:-1]}",
        all_events=all_events(shown, whole=whole),
        not_all_events="" if whole else not_all_events(shown),
        files=FILES[about.proofs] + COMPLETE * about.is_complete,
        version=about.pgaudit,
    )


def all_events(shown: AllEvents | None, *, whole: bool) -> str:
    """Returns what is shown of events that may be missing."""
    if shown:
        return ascii(shown.statement)[1:-1]
    return "No event up to the checkpoint is missing." if whole else "No event was changed after it was sealed."


def not_all_events(shown: AllEvents | None) -> str:
    """Returns what is not shown of events that may be missing."""
    if shown is None:
        return "  - That these are all events for the query.\n"
    return (
        f"  - Whether there are more events of it from index {shown.end} on.\n"
        "  - That the worker of the log has built the index of targets rightly: its key\n"
        f"    stands for that, and its role in the database: {ascii(', '.join(shown.sealed_by))[1:-1]}.\n"
    )
