"""What the name of a chosen index stands for: the part of an event that is indexed."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from pgaudit.errors import IndexRefused

CONTEXT: Final = {
    "request": "request_id",
    "correlation": "correlation_id",
    "trace": "trace_id",
    "session": "session_id",
    "ip": "ip",
}
DOCUMENTS: Final = ("data", "changes")
PREFIX: Final = "audit_log_chosen_"
LONGEST: Final = 200  # characters of a name
# An index entry of more than 2,704 bytes would be an error of the append: a character has up to 4 bytes.
KEPT: Final = 200
SLUG: Final = 16  # characters of a path in the name of its index, which has 63 bytes at most


@dataclass(frozen=True, slots=True)
class Choice:
    """An index that can be chosen; ``path`` leads to what it indexes, from the event."""

    name: str
    path: tuple[str, ...]

    @property
    def relation(self) -> str:
        """The name of the index in the database. Paths that look alike there differ in the digits of their hash."""
        if self.name in CONTEXT or self.name in DOCUMENTS:
            return f"{PREFIX}{self.name}"
        slug = re.sub("[^a-z0-9]+", "_", "_".join(self.path[1:]).lower())[:SLUG].strip("_")
        return f"{PREFIX}data_{slug}_{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def definition(self) -> sql.Composable:
        """Method, columns and condition, as CREATE INDEX has them."""
        if self.name in DOCUMENTS:
            return sql.SQL("USING gin (({}) jsonb_path_ops)").format(json_at(self.path))
        text = text_at(self.path)
        return sql.SQL('USING btree ((left({}, {})) COLLATE "C", index) WHERE ({}) IS NOT NULL').format(
            text, KEPT, text
        )


def chosen(name: str) -> Choice:
    """Returns the index of that name.

    :raises IndexRefused: there is none; the message says which there are.
    """
    if name in CONTEXT:
        return Choice(name, ("context", CONTEXT[name]))
    if name in DOCUMENTS:
        return Choice(name, (name,))
    document, *path = name.split(".")
    if document != "data" or not all(path) or len(name) > LONGEST or not is_storable(name):
        raise IndexRefused(
            f"{name!r} is no index to choose: name one of {', '.join((*CONTEXT, *DOCUMENTS))}, or a value in data by "
            f"its keys, such as data.claim_number or data.address.city, in at most {LONGEST} characters"
        )
    return Choice(name, (document, *path))


def is_storable(text: str) -> bool:
    """Returns whether Postgres can store the text: without NUL and surrogates."""
    return not re.search("[\0\ud800-\udfff]", text)


def condition(name: str, value: str) -> sql.Composed:
    r"""Returns the SQL condition that the index ``name`` serves, for a statement on ``pgaudit.audit_log``.

    For a btree index, the text at its place equals ``value``; for ``data`` and ``changes``, the document contains the
    JSON ``value``. Percent signs are doubled, as psycopg needs them in a statement with parameters.

    >>> condition("data", '{"a": 1}').as_string()
    'event->\'data\' @> \'{"a": 1}\''

    :raises IndexRefused: there is no such index to choose.
    """
    choice = chosen(name)
    path, sought = [doubled(key) for key in choice.path], sql.Literal(doubled(value))
    if name in DOCUMENTS:
        return sql.SQL("{} @> {}").format(json_at(path), sought)
    text = text_at(path)
    return sql.SQL('left({text}, {kept}) COLLATE "C" = left({sought}, {kept}) AND {text} = {sought}').format(
        text=text, kept=KEPT, sought=sought
    )


def doubled(text: str) -> str:
    """Returns the text with its percent signs doubled."""
    return text.replace("%", "%%")


def json_at(path: Sequence[str]) -> sql.Composed:
    """Returns the expression of a value in the event, as JSON."""
    return sql.SQL("event->{}").format(sql.SQL("->").join(map(sql.Literal, path)))


def text_at(path: Sequence[str]) -> sql.Composed:
    """Returns the expression of a value in the event, as text: a string without its quotes."""
    return sql.SQL("event #>> {}::text[]").format(sql.Literal(list(path)))
