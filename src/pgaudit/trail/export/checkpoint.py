"""How far an export has come, beside its unfinished file: enough to continue it after any interruption."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.stream import Stream


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first ``bytes`` of the unfinished file have all events of the plan below the index ``position``."""

    plan: dict[str, Any]
    position: int
    count: int
    first_index: int | None
    last_index: int | None
    last_hash: str | None
    bytes: int

    @classmethod
    def of(cls, stream: Stream) -> Self:
        """Returns where a stream is now."""
        plan = stream.plan.to_json()
        last_hash = None if stream.last_hash is None else stream.last_hash.hex()
        return cls(plan, stream.position, stream.count, stream.first_index, stream.last_index, last_hash, stream.bytes)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a checkpoint.

        :raises FileNotFoundError: there is none.
        """
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Writes the checkpoint, in place of the one before."""
        replace_durably(path, json.dumps(asdict(self)).encode())

    def restore(self, stream: Stream) -> None:
        """Continues the counts in a new stream, which has read the bytes again."""
        stream.position, stream.count = self.position, self.count
        stream.first_index, stream.last_index = self.first_index, self.last_index
        stream.last_hash = None if self.last_hash is None else bytes.fromhex(self.last_hash)

    def parsed_plan(self) -> Plan:
        """Returns the plan."""
        return Plan.from_json(self.plan)


def replace_durably(path: Path, data: bytes) -> None:
    """Writes a file that is there as a whole or not at all, also after a loss of power."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb", opener=private) as file:
        file.write(data)
        fsync_file(file)
    new.replace(path)
    fsync_directory(path.parent)


def private(path: str, flags: int) -> int:
    """Opens a file that only its owner can read: it has the audit log."""
    return os.open(path, flags, 0o600)
