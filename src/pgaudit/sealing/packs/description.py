"""``pack.json``: what a pack has. Its last line is the hash of what stands before it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final, Literal, Self, get_args

from pydantic import TypeAdapter, ValidationError

from pgaudit.errors import PackAltered, PackUnreadable
from pgaudit.sealing.packs.layout import COMPLETENESS, DESCRIPTION

Kind = Literal["proofs", "tiles"]
VERSION: Final = 1
LAST_LINE: Final = b'  "sha256": "'
END: Final = b'"\n}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a pack has. ``files`` has the SHA-256 of each other file, ``indexes`` those of the events, as ranges."""

    pack_version: int = VERSION
    pgaudit: str
    query: str
    proofs: Kind
    checkpoint_size: int
    count: int
    first_index: int | None
    last_index: int | None
    indexes: str
    purged: Sequence[int] = ()
    redacted: Sequence[int] = ()
    vkeys: Sequence[str]
    files: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether the pack has a proof that these are all events of its target."""
        return COMPLETENESS in self.files

    def to_bytes(self) -> bytes:
        """Returns the file."""
        content = json.dumps(asdict(self), indent=2).encode().removesuffix(b"\n}") + b",\n"
        return content + LAST_LINE + sha256(content).hexdigest().encode() + END

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Returns the description of a file.

        :raises PackAltered: the file is not as it was written.
        :raises PackUnreadable: it is of another version.
        """
        content = data.rpartition(LAST_LINE)[0]
        if data != content + LAST_LINE + sha256(content).hexdigest().encode() + END:
            raise PackAltered(f"{DESCRIPTION}: its content does not match the hash in its last line")
        try:
            about = TypeAdapter(cls).validate_json(data)
        except ValidationError as error:
            raise PackUnreadable(f"{DESCRIPTION} has another form: {error.errors()[0]['msg']}") from None
        if about.pack_version != VERSION or about.proofs not in get_args(Kind) or about.purged or about.redacted:
            raise PackUnreadable(
                f"{DESCRIPTION}: a pack of another version of pgaudit, {about.pgaudit!r}: check it with that one"
            )
        return about
