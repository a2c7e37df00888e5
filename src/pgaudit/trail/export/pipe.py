"""An export into a pipe: nothing can be continued, and there is no manifest."""

import os
from typing import Final

from pgaudit.trail.export.plans import Plan
from pgaudit.trail.export.portions import Portion
from pgaudit.trail.export.rows import Row
from pgaudit.trail.export.stream import Stream

STDOUT: Final = 1


class PipeOutput:
    """Standard output, or another open file. ``stream`` says what it was given."""

    def __init__(self, plan: Plan, descriptor: int = STDOUT) -> None:
        self.stream = Stream(plan)
        self._descriptor = descriptor
        self._beginning = self.stream.begin()

    def write(self, portion: Portion[Row]) -> None:
        """Writes a portion of events."""
        self._write(self._begun() + self.stream.encode(portion))

    def complete(self) -> None:
        """Writes the end."""
        self._write(self._begun() + self.stream.end())

    def publish(self, *, recorded: bool) -> None:
        """Does nothing: the reader has all of it."""

    def close(self) -> None:
        """Does nothing: the file is not ours."""

    def _begun(self) -> bytes:
        """Returns the beginning, once."""
        beginning, self._beginning = self._beginning, b""
        return beginning

    def _write(self, data: bytes) -> None:
        """Writes all bytes, past any buffer: Python would try to write what is left in one when it ends.

        :raises BrokenPipeError: the reader has gone.
        """
        while data:
            data = data[os.write(self._descriptor, data) :]
