"""Values of events for people to read: JSON with all its digits, and what a change has changed in a text."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final, cast

from markupsafe import Markup, escape

from pgaudit._exact_json import INDENT, scalar_to_json

LONG_TEXT: Final = 24  # characters: shorter ones are compared as a whole
MOST_WORDS: Final = 2_000  # of both texts: comparing takes the square of it, and more where words are repeated
MOST_PAIRS: Final = 3_000  # of equal words in the changes of an event: about 30 ms
WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")
LONG_JSON: Final = 30  # lines
MARKS: Final = {"del": Markup("<del>{}</del>"), "ins": Markup("<ins>{}</ins>")}
EMPTY: Final = Markup('<span class="unknown">empty text</span>')


def json_html(value: object, indent: str = "") -> Markup:
    """Returns a value as JSON, a line for each member, with the classes of ``.json``."""
    deeper = indent + INDENT
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value).items()
        return bracketed("{}", [member_html(str(name), one, deeper) for name, one in fields], indent)
    if isinstance(value, list):
        items = cast("list[object]", value)
        return bracketed("[]", [escape(deeper) + json_html(one, deeper) for one in items], indent)
    return Markup('<span class="{}">{}</span>').format(kind_of(value), scalar_to_json(value))


def member_html(name: str, value: object, indent: str) -> Markup:
    """Returns a member of an object."""
    key = scalar_to_json(name)
    return Markup('{}<span class="json-key">{}</span>: {}').format(indent, key, json_html(value, indent))


def bracketed(brackets: str, lines: Sequence[Markup], indent: str) -> Markup:
    """Returns members in their brackets."""
    if not lines:
        return Markup('<span class="json-word">{}</span>').format(brackets)
    return escape(f"{brackets[0]}\n") + Markup(",\n").join(lines) + f"\n{indent}{brackets[1]}"


def kind_of(value: object) -> str:
    """Returns the class of a value that has no members."""
    if isinstance(value, str):
        return "json-string"
    return "json-word" if value is None or isinstance(value, bool) else "json-number"


def is_long(value: object) -> bool:
    """Returns whether JSON is folded at first."""
    return json_html(value).count("\n") > LONG_JSON


def plain(value: object) -> Markup:
    """Returns a value as a cell of a table shows it: a text as it is, anything else as JSON."""
    if value == "":
        return EMPTY
    if isinstance(value, str):
        return escape(value)
    return Markup('<span class="json">{}</span>').format(json_html(value))


def compared(before: object, after: object) -> tuple[Markup, Markup]:
    """Returns both values of a change; in long texts, the words that were removed or added are marked."""
    if not (isinstance(before, str) and isinstance(after, str)) or max(len(before), len(after)) < LONG_TEXT:
        return plain(before), plain(after)
    old, new = WORDS.findall(before), WORDS.findall(after)
    if len(old) + len(new) > MOST_WORDS:
        return plain(before), plain(after)
    steps = SequenceMatcher(str.isspace, old, new, autojunk=False).get_opcodes()
    return (
        Markup().join(marked("del", old[start:end], same=tag == "equal") for tag, start, end, _, _ in steps),
        Markup().join(marked("ins", new[start:end], same=tag == "equal") for tag, _, _, start, end in steps),
    )


def pairs(before: object, after: object) -> int:
    """Returns how many pairs of equal words two texts have: how long it takes to compare them grows with that."""
    if not (isinstance(before, str) and isinstance(after, str)):
        return 0
    others = Counter(WORDS.findall(after))
    return sum(number * others[word] for word, number in Counter(WORDS.findall(before)).items() if not word.isspace())


def marked(element: str, words: Sequence[str], *, same: bool) -> Markup:
    """Returns words of a text, marked unless both texts have them."""
    text = "".join(words)
    return escape(text) if same or not text else MARKS[element].format(text)
