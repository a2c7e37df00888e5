"""The levels of assurance: how far a log that verifies can be trusted."""

from enum import IntEnum
from typing import Final


class Level(IntEnum):
    """How far a clean result can be trusted, from the least to the most."""

    NOTHING = 0
    HASHED = 1
    SEALED = 2
    SIGNED = 3
    ANCHORED = 4
    WITNESSED = 5

    @property
    def sentence(self) -> str:
        """What this level detects, and what it does not."""
        return SENTENCES[self]


SENTENCES: Final = {
    Level.NOTHING: "There was nothing to verify.",
    Level.HASHED: "Detects a changed event, unless its hash was recomputed.",
    Level.SEALED: "Detects changed, missing, inserted and moved events, unless the tree was recomputed.",
    Level.SIGNED: "Detects any change of signed events, except one made with the signing key, and the removal of the "
    "newest with their checkpoints.",
    Level.ANCHORED: "Detects any change of anchored events, even with the signing key, unless the anchor was changed "
    "as well.",
    Level.WITNESSED: "Detects any change of witnessed events and any second version of the log, unless the signer and "
    "the witnesses collude.",
}
