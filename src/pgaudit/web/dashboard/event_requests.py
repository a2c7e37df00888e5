"""What addresses of the events page ask for."""

from dataclasses import dataclass
from typing import Final, Self

from starlette.datastructures import QueryParams

from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query, Term, parse
from pgaudit.trail.fields import FIELDS

SIZES: Final = (25, 50, 100, 250)
USUAL_SIZE: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of events: the text of the search, where the page begins, and how many events it has."""

    q: str
    after: str | None
    limit: int
    counts: bool

    @classmethod
    def of(cls, given: QueryParams) -> Self:
        """Returns what an address asks for; a size that the page does not offer is the usual one."""
        size = given.get("limit", "")
        limit = int(size) if size in map(str, SIZES) else USUAL_SIZE
        return cls(given.get("q", "").strip(), given.get("after") or None, limit, "count" in given)

    def query(self, **changed: str | int | None) -> dict[str, str | int | None]:
        """Returns the parameters of an address; those that are usual are left out."""
        limit = None if self.limit == USUAL_SIZE else self.limit
        return {"q": self.q or None, "after": self.after, "limit": limit} | changed


@dataclass(frozen=True, slots=True)
class Chip:
    """A term of a search, and the search without it."""

    text: str
    without: str


def chips(query: Query) -> list[Chip]:
    """Returns the terms of a search."""
    terms = query.terms
    return [Chip(str(term), str(Query(terms[:place] + terms[place + 1 :]))) for place, term in enumerate(terms)]


def with_term(q: str, field: str, value: str, *, negated: bool) -> str:
    """Returns a search with one more term.

    :param field: one of the fields, or ``data.PATH``.
    :raises InvalidQuery: the search, or the term, cannot be understood.
    """
    values = tuple(part for part in (value.split(",") if field == "outcome" else [value]) if part)
    if not values:
        raise InvalidQuery(f"{field}: write a value")
    return str(parse(q) & Query((Term(field, values, negated),)))


def field_names() -> dict[str, str]:
    """Returns the fields that the form offers, and what each means."""
    return {name: meaning.replace("`", "") for name, meaning in FIELDS.items()}
