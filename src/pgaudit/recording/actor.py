"""The actor that an application's own function finds: a request must not fail because of its name."""

import hashlib
import re
from typing import Final

from pgaudit._log import warn_once
from pgaudit.errors import InvalidEvent
from pgaudit.events import Actor

Found = Actor | str | None

INVALID: Final = "invalid"  # the type of an actor that has none
MAX_TYPE: Final = 100
MAX_ID: Final = 500
MAX_NAME: Final = 500  # far less than an event can hold
UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def named(found: object) -> Actor | None:
    """Returns the actor that was found, shortened or marked where no event could hold it; None for what is false.

    >>> str(named("user:42")), str(named("ada"))
    ('user:42', 'invalid:ada')

    A part that is too long is cut, and ends in "…" and a hash of the whole. What is not of the form "type:id" has the
    type "invalid". Both are logged once.
    """
    if isinstance(found, Actor):
        return _with_fitting_name(found)
    if not found:
        return None
    if not isinstance(found, str):
        return _invalid(type(found).__name__)
    kind, _, identity = found.partition(":")
    if identity == "None":  # f"user:{user.id}" of a user without an id
        return None
    return _fitted(kind, identity) if kind and identity else _invalid(found)


def _with_fitting_name(actor: Actor) -> Actor:
    return actor.model_copy(update={"name": _fitting(actor.name, MAX_NAME)}) if actor.name else actor


def _fitted(kind: str, identity: str) -> Actor:
    try:
        return Actor(type=kind, id=identity)
    except InvalidEvent as error:
        warn_once(f"the actor of a request was changed, because no event could hold it: {error}")
        return Actor(type=_fitting(kind, MAX_TYPE), id=_fitting(identity, MAX_ID))


def _invalid(text: str) -> Actor:
    warn_once(
        f'the actor of a request is recorded as "{INVALID}:…": return an Actor, None, or "type:id", such as "user:42"'
    )
    return Actor(type=INVALID, id=_fitting(text, MAX_ID))


def _fitting(text: str, length: int) -> str:
    """Returns the text, if an event can hold it; else what it can hold, and a hash that tells it from similar ones."""
    storable = UNSTORABLE.sub("", text)
    if storable == text and len(text) <= length:
        return text
    mark = "…" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return storable[: length - len(mark)] + mark
