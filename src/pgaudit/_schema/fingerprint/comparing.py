"""Compares two catalogs, and says of each difference which object it is and what to do."""

from collections.abc import Iterator
from typing import Any, Final, cast

from pgaudit._schema.fingerprint.catalog import Row
from pgaudit._schema.fingerprint.expected import UNKNOWN, Catalog, candidates
from pgaudit._schema.fingerprint.partitions import partition_differences
from pgaudit._schema.fingerprint.triggers import trigger_differences

REPAIR: Final = "run `pgaudit migrate --repair`"
COMPARE: Final = "compare it with `pgaudit migrate --sql`"
# (object, role) of rights to change tables that roles other than the owner have on purpose: none.
MAY_WRITE: Final[frozenset[tuple[str, str]]] = frozenset()
# The parts of a table: each has a name and a definition. More of them than we know do no harm.
PARTS: Final = {"columns": "column", "constraints": "constraint", "indexes": "index"}
HASHES: Final = frozenset({"body", "definition"})
KEYWORDS: Final = {"function": "FUNCTION", "view": "VIEW", "table": "TABLE", "partition": "TABLE"}


def compare(rows: list[Row], expected: Catalog) -> Iterator[str]:
    """Yields a sentence for each difference."""
    schema = next((facts for kind, _, facts in rows if kind == "schema"), None)
    if schema is None:
        yield "schema pgaudit is missing: run `pgaudit migrate`"
        return
    found: dict[str, dict[str, Any]] = {kind: {} for kind in ("function", "view", "table", "partition")}
    for kind, name, facts in rows:
        found.get(kind, {})[name] = facts
    for kind in ("function", "view", "table"):
        for name, facts in expected[kind].items():
            yield from object_differences(kind, name, facts, found[kind].get(name), schema)
    for name in sorted(found["function"].keys() - expected["function"].keys()):
        yield f"function {name} is not one of pgaudit's: DROP FUNCTION {name}"
    yield from partition_differences(found["partition"], expected["partition"]["pgaudit.audit_log"], schema)
    for kind, name, facts in rows:
        yield from intruder(kind, name, facts)


def object_differences(
    kind: str, name: str, expected: dict[str, Any], found: dict[str, Any] | None, schema: dict[str, Any]
) -> Iterator[str]:
    """Yields the differences of a function, view or table."""
    if found is None:
        yield f"{kind} {name} is missing: {remedy(kind, name)}"
        return
    if found["owner"] != schema["owner"]:
        yield foreign_owner(kind, name, found["owner"], schema["owner"])
    for fact in sorted(expected.keys() | found.keys() - UNKNOWN):
        wanted, seen = expected.get(fact), found.get(fact)
        if fact in PARTS:
            yield from part_differences(PARTS[fact], name, wanted or {}, seen or {}, schema["major"])
        elif fact == "triggers":
            yield from trigger_differences(name, wanted or {}, seen or {}, schema["major"])
        elif fact == "parents" and seen != wanted:
            parents = listed(wanted)
            yield f"table {name} inherits from {listed(seen)}, expected {parents}: ALTER TABLE {name} INHERIT {parents}"
        elif seen not in candidates(wanted, schema["major"]):
            yield f"{kind} {name} differs in its {fact}{change(fact, seen, wanted)}: {remedy(kind, name)}"


def part_differences(
    part: str, table: str, expected: dict[str, Any], found: dict[str, Any], major: int
) -> Iterator[str]:
    """Yields the parts of a table that are missing or different."""
    for name, definition in expected.items():
        wanted = candidates(definition, major)
        if found.get(name) not in wanted:
            seen = f"is {found[name]}" if name in found else "is missing"
            yield f"{part} {name} of {table} {seen}, expected {wanted[0]}: {COMPARE}"


def foreign_owner(kind: str, name: str, seen: str, wanted: str) -> str:
    """Returns a sentence about an object of another owner than the schema's."""
    return f"{kind} {name} belongs to {seen}, expected {wanted}: ALTER {KEYWORDS[kind]} {name} OWNER TO {wanted}"


def intruder(kind: str, name: str, facts: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence about a rule, a policy or a right, of which there should be none."""
    if kind == "rule":
        yield f"rule {name} on {facts['table']} is not one of pgaudit's: DROP RULE {name} ON {facts['table']}"
    elif kind == "policy":
        yield f"policy {name} on {facts['table']} is not one of pgaudit's: DROP POLICY {name} ON {facts['table']}"
    elif kind == "right" and (name, facts["role"]) not in MAY_WRITE:
        role, privileges = facts["role"], facts["privileges"]
        yield f"{name}: {role} has the right {privileges}: {revoke(name, privileges, role)}"


def revoke(name: str, privileges: str, role: str) -> str:
    """Returns the statement that takes a right away."""
    target, _, column = name.partition(", column ")
    if column:
        privileges = ", ".join(f"{privilege} ({column})" for privilege in privileges.split(", "))
    return f"REVOKE {privileges} ON {target.partition(' ')[0].upper()} {target.partition(' ')[2]} FROM {role}"


def remedy(kind: str, name: str) -> str:
    """Returns what to do about an object that differs: only functions and views can be replaced by a command."""
    return COMPARE if kind == "table" or "procrastinate_" in name else REPAIR


def change(fact: str, seen: Any, wanted: Any) -> str:
    """Returns both values, where people can read them."""
    return "" if fact in HASHES else f" ({show(seen)}, expected {show(wanted)})"


def show(value: Any) -> str:
    """Returns a value of the catalog in words."""
    return listed(cast("list[str]", value)) if isinstance(value, list) else "nothing" if value is None else str(value)


def listed(names: list[str] | None) -> str:
    """Returns the names with commas between them."""
    return ", ".join(names) if names else "nothing"
