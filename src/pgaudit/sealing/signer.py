"""Signs the tree, unless it is smaller than, or other than, what this signer has signed before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pgaudit._environment import variable_of
from pgaudit.errors import InvalidKey, RolledBack
from pgaudit.sealing import tree
from pgaudit.sealing.keys import MARK_SUFFIX, HighWaterMark, load
from pgaudit.sealing.notes import Checkpoint, Note
from pgaudit.sealing.signing import PREFIX, SigningKey, sign
from pgaudit.sealing.tiles import TiledTree
from pgaudit.settings import Settings

REMEDY: Final = "see docs/operate/after-a-restore.md"


@dataclass(frozen=True, slots=True)
class Signer:
    """The keys of a log, and what was signed last with them."""

    keys: list[SigningKey]
    mark: HighWaterMark

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Returns the signer that the settings name; None if they name no key.

        :raises InvalidKey: the key cannot be used, or there is no file for what was signed last.
        """
        if settings.signing_key is None:
            return None
        given, mark = settings.signing_key.get_secret_value(), settings.signing_mark
        if mark is None and given.startswith(PREFIX):
            raise InvalidKey(
                f"{variable_of('signing_key')} is the key itself, so {variable_of('signing_mark')} has to name a file, "
                "outside the database, for what was signed last"
            )
        return cls(load(given), HighWaterMark(mark or Path(given + MARK_SUFFIX)))

    @property
    def origin(self) -> str:
        """The name of the log, which is that of its keys."""
        return self.keys[0].name

    def sign(self, tiled: TiledTree) -> Note:
        """Returns a checkpoint of the tree. First what will be signed is noted outside the database.

        :raises RolledBack: the tree is smaller than, or differs from, one that was signed before. Nothing is signed.
        """
        checkpoint = Checkpoint(self.origin, tiled.size, tree.root(tiled.size, tiled.node))
        with self.mark.locked():
            self.check(tiled)
            self.mark.advance(checkpoint)
        return sign(checkpoint, self.keys)

    def check(self, tiled: TiledTree) -> None:
        """Checks that the tree begins with the one that was signed last.

        :raises RolledBack: it does not.
        """
        last = self.mark.read()
        if last is None:
            return
        if last.origin != self.origin:
            raise InvalidKey(f"{self.mark.path} is about the log {last.origin}, and the key about {self.origin}")
        if last.size > tiled.size:
            raise RolledBack(
                f"the log has {tiled.size:,} events, and a checkpoint of {last.size:,} was signed: an older copy of "
                f"the database is in use, or events were removed; {REMEDY}"
            )
        if tree.root(last.size, tiled.node) != last.root:
            raise RolledBack(
                f"the first {last.size:,} events of the log are not those that were signed: another copy of the "
                f"database is in use, or the log was altered; {REMEDY}"
            )
