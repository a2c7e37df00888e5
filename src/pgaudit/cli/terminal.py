"""What may reach a terminal: text in which nothing moves the cursor, hides, or changes the order of other text."""

import json
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Final

import typer

# Characters that Unicode ignores by default (Default_Ignorable_Code_Point), controls, separators of lines, surrogates.
INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""Returns the text on one line, with control and invisible characters as escapes.

    >>> print(escaped("a" + chr(27) + "[2J"))
    a\x1b[2J
    """
    return INVISIBLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def escaped_lines(text: str, indent: str = "") -> str:
    """Returns a text of several lines; each is escaped and indented, so that none can pass for another one's."""
    return "\n".join(indent + escaped(line) for line in text.split("\n"))


def say(text: str, *, error: bool = False) -> None:
    """Prints a sentence on one line."""
    write(escaped(text), error=error)


def write(text: str, *, error: bool = False) -> None:
    """Prints a line at once, in the encoding of the terminal: ``typer.echo`` writes UTF-8 where that is ASCII."""
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def write_json_text(text: str) -> None:
    """Prints JSON as it is, in UTF-8; on a terminal, with invisible characters as the escapes of JSON."""
    if sys.stdout.isatty():
        text = INVISIBLE.sub(lambda found: json.dumps(found.group())[1:-1], text)
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.flush()


def accept_any_encoding() -> None:
    """Prints what the terminal's encoding does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - typed as TextIO


def end_with_reader() -> None:
    """Ends the process quietly when what reads its output ends, as ``head`` does. Otherwise that would be an error."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def decoded(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of the command line; those that the locale could not decode are read as UTF-8.

    :raises typer.BadParameter: an argument is not UTF-8; the message says which one.
    """
    return [as_utf8(argument, number) for number, argument in enumerate(arguments, start=1)]


def as_utf8(argument: str, number: int) -> str:
    """Returns an argument in which bytes that the locale could not decode are read as UTF-8."""
    if not SURROGATE.search(argument):
        return argument
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"argument {number} is not UTF-8: {argument}") from None


class LineFormatter(logging.Formatter):
    """Formats log records as one line, and tracebacks as several, all escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escaped(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        return escaped_lines(super().formatException(ei))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
