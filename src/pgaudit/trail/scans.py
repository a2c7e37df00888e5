"""The indexes that find events, and the choice among them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pgaudit._reading import Statement, Steps
from pgaudit.indexes.expressions import DOCUMENTS, KEPT
from pgaudit.trail.conditions import ANY, type_and_id
from pgaudit.trail.fields import path_of
from pgaudit.trail.query import Query, Term

MOST_KEYS: Final = 100  # actions that one prefix may stand for
# How many events a term usually finds: the fewest first. Those of the context and data are 2.
RANKS: Final = {"id": 0, "target": 1, "actor": 3, "outcome": 4, "action": 5, "tenant": 6}
# The next action of some partitions, again and again: as many look-ups as there are actions.
ACTIONS: Final = """
    WITH RECURSIVE found (action) AS (
        SELECT (SELECT min(action) FROM pgaudit.audit_log
                 WHERE index >= %(first)s AND index < %(end)s AND action >= %(from)s)
        UNION ALL
        SELECT (SELECT min(action) FROM pgaudit.audit_log
                 WHERE index >= %(first)s AND index < %(end)s AND action > found.action)
          FROM found WHERE starts_with(found.action, %(from)s)
    )
    SELECT action FROM found WHERE starts_with(action, %(from)s) LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Scan:
    """A way to find events: the order of the log itself, or the index of a term.

    ``keys`` are the values that are looked up in an index; an index of documents has none, and no order.
    """

    term: Term | None = None
    keys: tuple[tuple[str, str | None], ...] = ()

    @property
    def width(self) -> int:
        """How many ranges of an index it reads."""
        return max(1, len(self.keys))


WALK: Final = Scan()


def indexed_terms(query: Query, chosen: Collection[str]) -> list[Term]:
    """Returns the terms that an index can answer, those that usually find the fewest events first.

    :param chosen: names of the indexes that an operator has added.
    """
    terms = [term for term in query.terms if is_indexed(term, chosen)]
    return sorted(terms, key=lambda term: RANKS.get(term.field, 2))


def document_terms(query: Query, chosen: Collection[str]) -> list[Term]:
    """Returns the terms that an index of documents can answer, which has no order."""
    return [term for term in query.terms if term.field in DOCUMENTS and term.field in chosen and not term.negated]


def is_indexed(term: Term, chosen: Collection[str]) -> bool:
    """Returns whether an index can answer the term."""
    if term.negated:
        return False
    match term.field:
        case "actor" | "target":
            return all(type_and_id(value)[1] != ANY for value in term.values)
        case "outcome":
            return "success" not in term.values
        case "action":
            return all(value != ANY for value in term.values)
        case "id" | "tenant":
            return True
        case field:  # an index of a value holds only its first characters
            return bool(path_of(field)) and field in chosen and all(len(value) < KEPT for value in term.values)


def scan_of(term: Term, partitions: range) -> Steps[Scan | None]:
    """Finds the keys of a term in some partitions; None if a prefix stands for too many actions."""
    keys: list[tuple[str, str | None]] = []
    for value in term.values:
        if term.field in ("actor", "target"):
            keys.append(type_and_id(value))
        elif term.field == "action" and value.endswith(ANY):
            begin, bounds = value.removesuffix(ANY), {"first": partitions.start, "end": partitions.stop}
            actions = yield Statement(ACTIONS, bounds | {"from": begin, "most": MOST_KEYS + 1})
            keys += [(action, None) for (action,) in actions]
        else:
            keys.append((value, None))
    return Scan(term, tuple(dict.fromkeys(keys))) if len(keys) <= MOST_KEYS else None
