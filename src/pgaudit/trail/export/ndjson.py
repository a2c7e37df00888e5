"""NDJSON: an event in each line, exactly the text that its leaf hash covers."""

from collections.abc import Iterable

from pgaudit.trail.export.rows import Row


class NdjsonEncoder:
    """Writes an event in each line."""

    def begin(self) -> bytes:
        """Returns nothing: the format has no header."""
        return b""

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Returns the lines of events."""
        return "".join(f"{row.text}\n" for row in rows).encode()

    def end(self) -> bytes:
        """Returns nothing: the last line is complete."""
        return b""
