"""The file of one proof, as C2SP ``tlog-proof`` says: the index, the hashes up to the root, and the checkpoint."""

import re
from dataclasses import dataclass
from typing import Final, Self

from pgaudit.errors import InvalidNote
from pgaudit.sealing.notes import decode, encode
from pgaudit.sealing.tree import HASH_SIZE

MAGIC: Final = "c2sp.org/tlog-proof@v1"
HEAD: Final = re.compile(r"c2sp\.org/tlog-proof@v1\nindex (?P<index>0|[1-9][0-9]{0,18})(?P<hashes>(\n[^\n]+)*)")


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf is in the tree of a checkpoint; ``checkpoint`` is the signed note as it stands in the file."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def __str__(self) -> str:
        hashes = "".join(f"{encode(each)}\n" for each in self.hashes)
        return f"{MAGIC}\nindex {self.index}\n{hashes}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the proof of a file. Those with extra data, which no signature covers, are refused.

        :raises InvalidNote: the file has another form.
        """
        head, _, checkpoint = text.partition("\n\n")
        found = HEAD.fullmatch(head)
        if not found:
            raise InvalidNote("not a proof: a line c2sp.org/tlog-proof@v1, the index, and hashes")
        hashes = tuple(decode(line) for line in found["hashes"].split("\n")[1:])
        if any(len(each) != HASH_SIZE for each in hashes):
            raise InvalidNote("a proof has hashes of 32 bytes")
        return cls(int(found["index"]), hashes, checkpoint)
