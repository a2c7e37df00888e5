"""Completeness: proof that these are all the events of a target, by a sealed index of targets for each day and year.

==================  ================================================================================
``closing``         closes days and years: builds their trees, and records their roots as events
``complete``        the proof for one target, and its JSON form
``sealed``          until when the events of a target are sealed
``rebuilding``      builds every tree again from the events of the log, and compares
``stored_periods``  what the database has of closed periods
``periods``         the period that is due next
``sorted_tree``     the tree of a period, in tiles
``offline``         what a proof has to fulfil, with the standard library alone
==================  ================================================================================

The layout, byte for byte. ``||`` puts bytes one after the other; all integers are unsigned.

- ``key = SHA-256(type || 0x00 || id)``, both in UTF-8 and not normalized. Postgres stores no character of code 0, so
  no two targets have the same bytes.
- ``digest = SHA-256(index || index || ...)``: the indexes of the events that name the target, ascending, each once, in
  8 bytes with the highest first.
- ``leaf = SHA-256(0x00 || key || digest)``: the leaf hash by RFC 6962 of an entry of 64 bytes.
- Leaves are in ascending order of ``key``, compared as bytes; each key occurs once.
- The root is that of RFC 6962 over these leaves; of none, ``SHA-256("")``.
"""

from pgaudit.sealing.completeness.closing import close_periods
from pgaudit.sealing.completeness.complete import Completeness, Verdict, check, prove
from pgaudit.sealing.completeness.rebuilding import differences
from pgaudit.sealing.completeness.sealed import sealed_until

__all__ = ["Completeness", "Verdict", "check", "close_periods", "differences", "prove", "sealed_until"]
