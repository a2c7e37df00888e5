"""The state of a thing: what is told of each of its fields, as a tree along their paths.

A path is dotted: ``address.city`` is a part of ``address``. Fields that no event tells are not in the tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pgaudit.trail.timelines.told import Told, is_equal


@dataclass(slots=True)
class State:
    """A thing or one of its fields: what is told of it as a whole, or of its parts. It never has both."""

    told: Told | None = None
    parts: "dict[str, State]" = field(default_factory=dict[str, "State"])

    def find(self, path: str) -> "tuple[State | None, list[str]]":
        """Returns the field at a path, and no keys; or the whole that was told, and the keys from there to the field.

        Without either, nothing is told of the field.
        """
        found, keys = self, path.split(".")
        for number, key in enumerate(keys):
            if found.told:
                return found, keys[number:]
            if key not in found.parts:
                return None, []
            found = found.parts[key]
        return found, []

    def told_at(self, path: str) -> Told | None:
        """Returns what is told of the field at a path, by itself or as a part of a whole."""
        found, keys = self.find(path)
        return found.told.part(keys) if found and found.told else None

    def leaves(self, path: str | None = None) -> Iterator[tuple[str, "State"]]:
        """Yields the fields of which something is told, with their paths; ``path`` is the one of this field."""
        left = [(path, self)]
        while left:
            place, one = left.pop()
            if one.told:
                yield place or "", one
            left += [(key if place is None else f"{place}.{key}", part) for key, part in reversed(one.parts.items())]

    def tell(self, path: str, told: Told) -> None:
        """Replaces what is told of a field and of its parts. What a whole tells of its other parts stays."""
        found = self
        for key in path.split("."):
            found.split()
            found = found.parts.setdefault(key, State())
        found.told, found.parts = told, {}

    def split(self) -> None:
        """Replaces what is told of the whole by what that tells of each part."""
        if self.told:
            self.parts = {key: State(part) for key, part in self.told.parts().items()}
            self.told = None

    def contradicted(self, path: str, before: Told) -> Iterator["State"]:
        """Yields what is told of a field, or of its parts, and is not what the value before a change says."""
        found, keys = self.find(path)
        for place, one in found.leaves(path) if found else ():
            told = one.told and one.told.part(keys)
            said = before.part(place[len(path) + 1 :].split(".") if place != path else [])
            if told and said and told.known and not is_equal(told.value, said.value):
                yield one

    def learn(self, path: str, before: Told) -> None:
        """Adds the value before the next change of a field: an unknown field had it, a known one may contradict it."""
        found, _ = self.find(path)
        told = next(found.leaves(path), None) if found else None
        if found is None or told is None or (found.told and not found.told.known):
            self.tell(path, before)
        for one in self.contradicted(path, before):
            one.told = one.told and replace(one.told, contradicted_by=one.told.contradicted_by or before.by)
