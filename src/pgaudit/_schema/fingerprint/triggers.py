"""Compares the triggers of a table: an extra one can swallow rows, a disabled one guards nothing."""

from collections.abc import Iterator
from typing import Any, Final

from pgaudit._schema.fingerprint.expected import candidates

STATES: Final = {"O": "enabled as origin", "D": "disabled", "A": "enabled as ALWAYS", "R": "enabled as replica"}
ENABLE: Final = {"O": "ENABLE", "D": "DISABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def trigger_differences(table: str, expected: dict[str, Any], found: dict[str, Any], major: int) -> Iterator[str]:
    """Yields the triggers that are missing, different, enabled otherwise, or not ours."""
    for name, wanted in expected.items():
        definition, enabled = candidates(wanted, major)[0]
        if name not in found:
            yield f"trigger {name} on {table} is missing: {definition}"
        elif found[name][0] not in [candidate[0] for candidate in candidates(wanted, major)]:
            yield f"trigger {name} on {table} is {found[name][0]}, expected {definition}"
        elif found[name][1] != enabled:
            seen, wanted_state = STATES[found[name][1]], STATES[enabled].removeprefix("enabled as ")
            yield (
                f"trigger {name} on {table} is {seen}, expected {wanted_state}: "
                f"ALTER TABLE {table} {ENABLE[enabled]} TRIGGER {name}"
            )
    for name in sorted(found.keys() - expected.keys()):
        yield f"trigger {name} on {table} is not one of pgaudit's: DROP TRIGGER {name} ON {table}"
