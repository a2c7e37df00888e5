"""Text that comes from others, for one line of a message, a header or the database."""

from typing import Final

LONGEST_EXCERPT: Final = 200  # characters


def as_line(text: str) -> str:
    """Returns a text with a blank for each character that cannot be printed, such as a line break or NUL."""
    return "".join(character if character.isprintable() else " " for character in text)


def excerpt(value: object) -> str:
    r"""Returns the beginning of a text as one line, at most 200 characters, without repeated blanks.

    >>> excerpt("not\r\n\r\nfound ")
    'not found'
    """
    line = " ".join(as_line(str(value)[: 10 * LONGEST_EXCERPT]).split())
    return line if len(line) <= LONGEST_EXCERPT else f"{line[:LONGEST_EXCERPT]}…"
