"""Refuses a search for a value that is masked: its result would confirm a guess of the value."""

from collections.abc import Iterator
from decimal import InvalidOperation
from http import HTTPStatus
from typing import Any, Final, cast

from starlette.exceptions import HTTPException

from pgaudit._exact_json import parse_json
from pgaudit.trail.fields import path_of
from pgaudit.trail.query import Query, Term
from pgaudit.web.access import unmasked
from pgaudit.web.guard import Viewer
from pgaudit.web.masking import differs, masked_event

MOST_PLACES: Final = 6
ANYTHING: Final = "?"  # stands for a value that a search does not name


def refuse_masked(viewer: Viewer, query: Query) -> None:
    """Checks that the viewer may see every value that a search asks for.

    :raises HTTPException: 403, the search would tell whether a hidden value is the one that it names.
    """
    if viewer.access.mask is unmasked:
        return
    for term in query.terms:
        if any(differs(masked_event(viewer, event), event) for event in examples(term)):
            detail = f"You may not search by {term.field} for this: the values are hidden from you."
            raise HTTPException(HTTPStatus.FORBIDDEN, detail)


def examples(term: Term) -> Iterator[dict[str, Any]]:
    """Yields events that have the values of a term, and nothing else."""
    for value in term.values:
        match term.field:
            case "actor" | "target":
                kind, _, identity = value.partition(":")
                part = {"type": kind, "id": identity}
                yield {"actor": part} if term.field == "actor" else {"targets": [part]}
            case "changes":
                yield {"changes": [changed(value)]}
            case "data":
                yield {"data": parse_json(value)}
            case "id" | "after" | "before" | "occurred_after" | "occurred_before":
                return
            case field:
                yield from at(path_of(field) or [field], value)


def changed(value: str) -> dict[str, Any]:
    """Returns a change that a search asks for.

    :raises HTTPException: 403, it names no field, so that no mask can decide about it.
    """
    change = {"path": value} if not value.startswith("{") else cast("dict[str, Any]", parse_json(value))
    if "path" not in change:
        detail = 'Name the field of the change, too: changes:{"path": "status", "after": "open"}.'
        raise HTTPException(HTTPStatus.FORBIDDEN, detail)
    return {"before": ANYTHING, "after": ANYTHING} | change


def at(path: list[str], value: str) -> Iterator[dict[str, Any]]:
    """Yields events with a value at a path: as text, and as the JSON that has this text.

    Digits in the path are keys, and places in a list.

    :param path: such as ``["data", "phones", "0"]``.
    :raises HTTPException: 403, the path has more keys that are numbers than can be checked.
    """
    if sum(map(is_place, path)) > MOST_PLACES:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"A path has at most {MOST_PLACES} keys that are numbers.")
    for leaf in (value, *read(value)):
        yield from nested(path, leaf)


def nested(path: list[str], leaf: object) -> Iterator[Any]:
    """Yields the values that have a leaf at a path."""
    if not path:
        yield leaf
        return
    for inner in nested(path[1:], leaf):
        yield {path[0]: inner}
        if is_place(path[0]):
            yield [inner]


def is_place(key: str) -> bool:
    """Returns whether a key of a path may be a place in a list."""
    return key.lstrip("-").isdigit()


def read(text: str) -> Iterator[object]:
    """Yields the value of a text that is JSON but no string, because a search compares the text of values."""
    try:
        found = parse_json(text)
    except (ValueError, RecursionError, InvalidOperation):
        return
    if not isinstance(found, str):
        yield found
