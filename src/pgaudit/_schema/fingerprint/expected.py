"""The catalog of a fresh installation, as ``make fingerprint`` has written it down.

A value that depends on the major version of Postgres is an object with a key for each: ``{"@15": …, "@18": …}``.
"""

import json
from functools import cache
from typing import Any, Final, cast

from pgaudit._schema.state import MIGRATIONS

FILE: Final = MIGRATIONS / "fingerprint.json"
# Of the owner the name is not known beforehand; of a partition the bound; rights and the like there should be none.
UNKNOWN: Final = frozenset({"owner", "bound"})

Catalog = dict[str, dict[str, Any]]


@cache
def load() -> Catalog:
    """Returns the expected objects by kind and name."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def catalog(rows: list[tuple[str, str, dict[str, Any]]]) -> Catalog:
    """Returns what has to be in every installation: tables, views, functions and one partition."""
    found: Catalog = {"table": {}, "view": {}, "function": {}, "partition": {}}
    for kind, name, facts in rows:
        if kind in found:
            known = {fact: value for fact, value in sorted(facts.items()) if fact not in UNKNOWN and value is not None}
            found[kind]["pgaudit.audit_log" if kind == "partition" else name] = known
    return {kind: dict(sorted(objects.items())) for kind, objects in found.items()}


def merged(variants: dict[int, Any]) -> Any:
    """Returns one value for all major versions, with their differences as deep down as they go."""
    values = list(variants.values())
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, dict) for value in values):
        keys = sorted({key for value in values for key in value})
        return {key: merged({major: value.get(key) for major, value in variants.items()}) for key in keys}
    return {f"@{major}": value for major, value in variants.items()}


def candidates(value: Any, major: int) -> list[Any]:
    """Returns what a value may be in that major version: for an unknown one, what it is in its neighbours."""
    choices = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if not choices or not all(key.startswith("@") for key in choices):
        return [value]
    variants = {int(key[1:]): variant for key, variant in choices.items()}
    if major in variants:
        return [variants[major]]
    return [variants[near] for near in neighbours(sorted(variants), major)]


def neighbours(majors: list[int], major: int) -> list[int]:
    """Returns the nearest known versions below and above."""
    return [known for known in majors if known < major][-1:] + [known for known in majors if known > major][:1]
