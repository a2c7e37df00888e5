"""The terms of a query as SQL: conditions on a row of the log. Every value is a parameter."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from pgaudit.trail.fields import TIMES, moment, path_of
from pgaudit.trail.query import Query, Term

ANY: Final = "*"

# Conditions for one value; {a} and {b} stand for the names of its parameters.
IS_ACTOR: Final = "actor_type = %({a})s AND actor_id = %({b})s"
IS_TARGET: Final = """
    (target_type = %({a})s AND target_id = %({b})s
     OR EXISTS (SELECT FROM pgaudit.event_target t
                 WHERE t.type = %({a})s AND t.id = %({b})s AND t.index = audit_log.index))
"""
HAS_TARGET_TYPE: Final = """
    event->'targets' @> jsonb_build_array(jsonb_build_object('type', %({a})s::text))
"""
ROW: Final[Mapping[str, LiteralString]] = {
    "id": "event_id = %({a})s::text::uuid",
    "action": "action = %({a})s",
    "tenant": "tenant = %({a})s",
    "outcome": "outcome = %({a})s",
    "data": "event->'data' @> %({a})s::text::jsonb",
    "changes": "event->'changes' @> %({a})s::text::jsonb",
    "after": "recorded_at >= %({a})s",
    "before": "recorded_at < %({a})s",
    "occurred_after": "occurred_at >= %({a})s",
    "occurred_before": "occurred_at < %({a})s",
}
STARTS: Final = "starts_with(action, %({a})s)"
HAS_ACTOR_TYPE: Final = "actor_type = %({a})s"
AT_PATH: Final = "event #>> %({b})s::text[] = %({a})s"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a row of the log, and its parameters."""

    sql: LiteralString
    parameters: dict[str, Any]


def condition_of(query: Query, leave_out: Term | None = None) -> Condition:
    """Returns the condition of all terms but one, which an index has answered already. It is never NULL."""
    parts: list[LiteralString] = []
    parameters: dict[str, Any] = {}
    for number, term in enumerate(query.terms):
        if term is not leave_out:
            sql, values = term_condition(term, f"t{number}")
            parts.append(sql)
            parameters |= values
    return Condition(" AND ".join(parts) or "true", parameters)


def term_condition(term: Term, name: str) -> tuple[LiteralString, dict[str, Any]]:
    """Returns the condition of one term, and its parameters, whose names begin with that name."""
    found = any_of(term, name)
    condition: LiteralString = "coalesce(" + found.sql + ", false)"
    return ("NOT " + condition if term.negated else condition), found.parameters


def any_of(term: Term, name: str) -> Condition:
    """Returns the condition that one value of a term matches; NULL where the event has no such field."""
    alternatives: list[LiteralString] = []
    parameters: dict[str, Any] = {}
    for number, value in enumerate(term.values):
        template, a, b = alternative(term.field, value)
        names = {"a": f"{name}_{number}_a", "b": f"{name}_{number}_b"}
        alternatives.append(template.format(**names))  # pyright: ignore[reportArgumentType] - the names are ours
        parameters |= {names["a"]: a, names["b"]: b}
    either: LiteralString = "((" + ") OR (".join(alternatives) + "))"
    return Condition(either if alternatives else "false", parameters)


def alternative(field: str, value: str) -> tuple[LiteralString, object, object]:
    """Returns the condition for one value of a term: a template, and its two parameters a and b."""
    if path := path_of(field):
        return AT_PATH, value, path
    match field:
        case "actor" | "target":
            kind, identity = type_and_id(value)
            exact, of_type = (IS_ACTOR, HAS_ACTOR_TYPE) if field == "actor" else (IS_TARGET, HAS_TARGET_TYPE)
            return (of_type, kind, None) if identity == ANY else (exact, kind, identity)
        case "action" if value.endswith(ANY):
            return STARTS, value.removesuffix(ANY), None
        case "changes":
            return ROW[field], f"[{value}]" if value.startswith("{") else json.dumps([{"path": value}]), None
        case _:
            return ROW[field], moment(value) if field in TIMES else value, None


def type_and_id(value: str) -> tuple[str, str]:
    """Returns the parts of "type:id"."""
    kind, _, identity = value.partition(":")
    return kind, identity
