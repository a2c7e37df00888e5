"""The parameters of the routes: a query as text, or one parameter a field."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Path, Query
from starlette.datastructures import QueryParams

from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query as Search
from pgaudit.trail import Term, parse
from pgaudit.trail.bounded import LARGEST_PAGE
from pgaudit.trail.fields import FIELDS, data_path
from pgaudit.trail.query import LONGEST, MOST_TERMS

# Fields whose names are those of a cursor have other names as parameters.
RENAMED: Final = {"recorded_after": "after", "recorded_before": "before"}
PARAMETERS: Final[Mapping[str, str]] = {name: name for name in FIELDS if name not in RENAMED.values()} | RENAMED

Q = Annotated[
    str,
    Query(
        max_length=LONGEST,
        description="A search, such as `action:claim.* target:claim:7 after:7d`. Every event without one.",
    ),
]
After = Annotated[str | None, Query(description="The cursor `next` or `previous` of a page.")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="The most events to return.")]
NOT_A_KEY: Final = "The id of an event is its index or its UUID."
EventId = Annotated[str, Path(alias="id", description="The index or the id (a UUID) of an event.")]


def documented() -> list[dict[str, Any]]:
    """Returns the parameters of the fields for the OpenAPI document."""
    repeated = {"type": "array", "items": {"type": "string"}}
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": repeated,
            "description": f"{FIELDS[field].capitalize()}. Repeated, one of the values must match.",
        }
        for name, field in PARAMETERS.items()
    ]


def search_of(given: QueryParams, others: Sequence[str]) -> Search:
    """Returns the search of a request: the terms of its text and those of its parameters.

    :param others: parameters of the route that are not fields.
    :raises InvalidQuery: the text is not a search, the search is too long, or a parameter is not a field: ignored, it
        would find too much.
    """
    terms = [Term(field_of(name), tuple(given.getlist(name))) for name in dict.fromkeys(given) if name not in others]
    search = parse(given.get("q", "")) & Search(tuple(terms))
    if len(search.terms) > MOST_TERMS or len(str(search)) > LONGEST:
        raise InvalidQuery(f"a search has at most {MOST_TERMS} parts and {LONGEST:,} characters, with its parameters")
    return search


def field_of(name: str) -> str:
    """Returns the field of a parameter.

    :raises InvalidQuery: there is no such parameter.
    """
    if name in PARAMETERS or data_path(name):
        return PARAMETERS.get(name, name)
    if name in RENAMED.values():
        raise InvalidQuery(f"there is no parameter {name}: write recorded_{name}, or {name}:TIME in q")
    raise InvalidQuery(f"there is no parameter {name}; fields are {', '.join(PARAMETERS)} and data.PATH")
