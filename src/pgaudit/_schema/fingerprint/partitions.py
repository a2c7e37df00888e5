"""Compares the partitions of the log: each must be guarded like the others, and none may be missing between two."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from pgaudit._schema.fingerprint.expected import candidates
from pgaudit._schema.fingerprint.triggers import trigger_differences

BOUND: Final = re.compile(r"FOR VALUES FROM \('?(\d+)'?\) TO \('?(\d+)'?\)")
# Facts that are the same for every partition.
FACTS: Final = ("kind", "persistence", "row security", "forced row security")


def partition_differences(
    found: dict[str, dict[str, Any]], expected: dict[str, Any], schema: dict[str, Any]
) -> Iterator[str]:
    """Yields the differences of all partitions, and the gaps between them."""
    for name, facts in sorted(found.items()):
        if facts["owner"] != schema["owner"]:
            seen, owner = facts["owner"], schema["owner"]
            yield f"partition {name} belongs to {seen}, expected {owner}: ALTER TABLE {name} OWNER TO {owner}"
        for fact in FACTS:
            if facts[fact] not in candidates(expected[fact], schema["major"]):
                yield f"partition {name} differs in its {fact} ({facts[fact]}, expected {expected[fact]})"
        if facts["triggers"] != expected["triggers"]:
            yield from trigger_differences(name, expected["triggers"], facts["triggers"] or {}, schema["major"])
    yield from gaps({name: str(facts["bound"]) for name, facts in found.items()})


def gaps(bounds: dict[str, str]) -> Iterator[str]:
    """Yields a sentence for each range between two partitions that has none. The first ones may be detached."""
    ranges: list[tuple[int, int]] = []
    for name, bound in bounds.items():
        matched = BOUND.fullmatch(bound)
        if matched is None:
            yield f"partition {name} is {bound}, expected a range of indexes: DETACH it"
        else:
            ranges.append((int(matched[1]), int(matched[2])))
    ranges.sort()
    for (_, end), (start, _) in pairwise(ranges):
        if start != end:
            yield f"table pgaudit.audit_log has no partition for the indexes from {end} to {start}: ATTACH it again"
