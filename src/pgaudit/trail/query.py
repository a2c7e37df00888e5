"""What a search asks for: terms, all of which must hold, and their text form.

>>> str(parse('action:claim.* actor:user:42 -outcome:success before:7d'))
'action:claim.* actor:user:42 -outcome:success before:7d'
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from pgaudit.errors import InvalidQuery
from pgaudit.trail.fields import NAME, check_field, check_number, check_value, takes_json
from pgaudit.trail.values import is_json, reason_of

PLAIN: Final = re.compile(r'[^\s",]+')
QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
LONGEST: Final = 4_000  # characters: a search is typed, or a link
MOST_TERMS: Final = 50
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: a field, and the values of which one must match. Without any value nothing matches.

    :raises InvalidQuery: there is no such field, or it takes no such value.
    """

    field: str
    values: tuple[str, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        check_field(self.field, "".join(self.values[:1]))
        check_number(self.field, len(self.values), negated=self.negated)
        for value in self.values:
            check_value(self.field, value)

    def __str__(self) -> str:
        return f"{'-' if self.negated else ''}{self.field}:{','.join(map(self._quoted, self.values))}"

    def _quoted(self, value: str) -> str:
        if PLAIN.fullmatch(value) or (takes_json(self.field) and is_json(value)):
            return value
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: every event for which all terms hold. Without terms, all events."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def __and__(self, other: "Query") -> "Query":
        return Query(self.terms + other.terms)


def parse(text: str) -> Query:
    """Returns the query of a text such as ``action:claim.* target:claim:7 after:2026-01-01``.

    :raises InvalidQuery: the text is not a query; ``position`` is the place of the fault.
    """
    if len(text) > LONGEST:
        raise InvalidQuery(f"a query has at most {LONGEST:,} characters", text, LONGEST)
    if "\x00" in text:
        raise InvalidQuery("a query cannot contain the character NUL", text, text.index("\x00"))
    return Query(tuple(Scanner(text).terms()))


def as_query(query: "Query | str") -> Query:
    """Returns the query itself, or the one of a text."""
    return query if isinstance(query, Query) else parse(query)


FORM: Final = (
    "write each part of a query as field:value, such as action:claim.approved; a value with spaces stands in double "
    'quotes: tenant:"North Sea"'
)


class Scanner:
    """Reads the terms of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> Iterator[Term]:
        """Yields the terms in their order."""
        number = 0
        while self._skip_blanks():
            number += 1
            if number > MOST_TERMS:
                raise self._error(f"a query has at most {MOST_TERMS} parts", self._at)
            yield self._term()

    def _term(self) -> Term:
        start = self._at
        negated = self._take("-")
        field = self._field()
        values = self._values(field)
        return self._at_place(start, Term, field, values, negated)

    def _skip_blanks(self) -> bool:
        """Moves to the next term; returns whether there is one."""
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1
        return self._at < len(self._text)

    def _take(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += len(character) if found else 0
        return found

    def _field(self) -> str:
        start = self._at
        found = NAME.match(self._text, start)
        if found is None or not self._text.startswith(":", found.end()):
            raise self._error(FORM, start)
        self._at = found.end() + 1
        (value,) = self._text[self._at :].split(maxsplit=1)[:1] or ("",)
        self._at_place(start, check_field, found.group(), value)
        return found.group()

    def _values(self, field: str) -> tuple[str, ...]:
        values = [self._value(field)]
        while self._take(","):
            values.append(self._value(field))
        rest = self._text[self._at : self._at + 1]
        if rest == '"':
            raise self._error(r"a value with a quote in it stands in double quotes, and the quote is \"", self._at)
        if rest and not rest.isspace():
            raise self._error("a space is missing between two parts of the query", self._at)
        return tuple(values)

    def _value(self, field: str) -> str:
        start = self._at
        value = self._read_value(field)
        self._at_place(start, check_value, field, value)
        return value

    def _read_value(self, field: str) -> str:
        start = self._at
        if takes_json(field) and self._text[start : start + 1] in ("{", "["):
            return self._json()
        if self._text.startswith('"', start):
            return self._string()
        found = PLAIN.match(self._text, start)
        if found is None:
            raise self._error(f"{field}: a value is missing here", start)
        self._at = found.end()
        return found.group()

    def _json(self) -> str:
        start = self._at
        try:
            _, self._at = json.JSONDecoder().raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            raise self._error(f"this is not JSON: {reason_of(error)}", error.pos) from None
        except RecursionError:
            raise self._error("this JSON is nested too deeply", start) from None
        return self._text[start : self._at]

    def _string(self) -> str:
        found = QUOTED.match(self._text, self._at)
        if found is None:
            raise self._error("the quote is not closed", self._at)
        self._at = found.end()
        return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)

    def _at_place(self, place: int, make: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        """Returns what a function makes; what it refuses, with the place in the text."""
        try:
            return make(*arguments, **more)
        except InvalidQuery as error:
            raise self._error(error.reason, place) from None

    def _error(self, reason: str, position: int) -> InvalidQuery:
        return InvalidQuery(reason, self._text, position)
