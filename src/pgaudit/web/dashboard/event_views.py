"""Events as the pages show them: what is linked, what has changed, and what it was part of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, cast

from markupsafe import Markup

from pgaudit.errors import InvalidQuery
from pgaudit.trail import Query, Term
from pgaudit.trail.fields import path_of
from pgaudit.web.dashboard.filters import segment
from pgaudit.web.dashboard.values import MOST_PAIRS, compared, pairs, plain
from pgaudit.web.masking import MaskedEntry

MISSING: Final = Markup('<span class="unknown">not told</span>')


@dataclass(frozen=True, slots=True)
class Reference:
    """An actor or a target. ``path`` is that of its timeline; None for one that is masked as a whole."""

    text: str
    path: str | None = None
    name: str | None = None
    role: str | None = None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A change of a field, before and after."""

    path: str
    before: Markup
    after: Markup


def actor_of(entry: MaskedEntry) -> Reference | None:
    """Returns who did it."""
    actor = entry.event.get("actor")
    return None if actor is None else reference(actor, "/actors")


def targets_of(entry: MaskedEntry) -> list[Reference]:
    """Returns what it was done to."""
    targets = entry.event.get("targets", [])
    listed = cast("list[object]", targets) if isinstance(targets, list) else [targets]
    return [reference(target, "/timeline") for target in listed]


def reference(part: object, page: str) -> Reference:
    """Returns an actor or a target, and the path of its timeline."""
    if not isinstance(part, Mapping):
        return Reference(str(part))
    fields = cast("Mapping[str, Any]", part)
    kind, identity = str(fields.get("type")), str(fields.get("id"))
    others = {name: str(fields[name]) for name in ("name", "role", "on_behalf_of") if fields.get(name) is not None}
    return Reference(f"{kind}:{identity}", timeline_path(page, kind, identity), **others)


def linked(text: str | None, page: str) -> Reference | None:
    """Returns an actor or a target of the form "type:id"."""
    if text is None:
        return None
    kind, found, identity = text.partition(":")
    return Reference(text, timeline_path(page, kind, identity)) if found else Reference(text)


def timeline_path(page: str, kind: str, identity: str) -> str:
    """Returns the path of a timeline; the id may have slashes and dots."""
    return f"{page}/{segment(kind)}/{segment(identity)}"


def changes_of(changes: object) -> list[ShownChange]:
    """Returns the changes of an event; their words are compared unless that would keep other requests waiting."""
    if not isinstance(changes, Iterable) or isinstance(changes, str | Mapping):
        return []
    listed = [cast("Mapping[str, Any]", one) for one in changes if isinstance(one, Mapping)]
    by_words = sum(pairs(one.get("before"), one.get("after")) for one in listed) <= MOST_PAIRS
    return [shown_change(one, by_words=by_words) for one in listed]


def shown_change(change: Mapping[str, Any], *, by_words: bool) -> ShownChange:
    """Returns a change; a value that it does not tell is shown as that."""
    path = str(change.get("path"))
    if by_words and "before" in change and "after" in change:
        return ShownChange(path, *compared(change["before"], change["after"]))
    before, after = (plain(change[side]) if side in change else MISSING for side in ("before", "after"))
    return ShownChange(path, before, after)


def recomputed(entry: MaskedEntry, sealed: bytes | None = None) -> bool | None:
    """Returns whether the hash of the stored text, computed now, is the leaf hash; None if a value is masked.

    :param sealed: the leaf in the tree, which it has to be as well.
    """
    if entry.text is None or entry.leaf_hash is None:
        return None
    return {sha256(b"\x00" + entry.text.encode()).digest()} == {entry.leaf_hash, sealed or entry.leaf_hash}


def neighbours_of(entry: MaskedEntry) -> list[tuple[str, Query]]:
    """Returns searches for events of the same request and of the same correlation, with their names."""
    given = entry.event.get("context")
    context: Mapping[str, object] = cast("Mapping[str, object]", given) if isinstance(given, Mapping) else {}
    found: list[tuple[str, Query]] = []
    for field in ("request", "correlation"):
        value = context.get(path_of(field)[-1])
        if isinstance(value, str):
            try:
                found.append((f"the same {field}", Query((Term(field, (value,)),))))
            except InvalidQuery:
                continue
    return found
