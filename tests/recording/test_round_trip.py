"""Any event comes back from jsonb unchanged, or is refused before anything is sent."""

from datetime import UTC
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import HealthCheck, assume, example, given, settings
from psycopg.pq import TransactionStatus

from pgaudit import AuditEvent, AuditLog, InvalidEvent, Settings
from tests.support.queries import Connection

WORD: Final = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAME: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
TIME: Final = st.datetimes(timezones=st.timezones() | st.just(UTC))
SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.decimals(allow_nan=False, allow_infinity=False) | st.dates() | st.uuids() | TIME
)  # fmt: skip


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Returns a strategy for lists and dicts with those leaves and keys."""
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=10)


def events(
    text: st.SearchStrategy[Any],
    name: st.SearchStrategy[Any],
    value: st.SearchStrategy[Any],
    data: st.SearchStrategy[Any],
    time: st.SearchStrategy[Any],
) -> st.SearchStrategy[dict[str, Any]]:
    """Returns a strategy for the arguments of an event, of which only the action is required."""
    party = st.fixed_dictionaries({"type": name, "id": name}, optional={"name": text})
    change = st.fixed_dictionaries({"path": name}, optional={"before": value, "after": value})
    context = st.fixed_dictionaries({}, optional={"request_id": text, "ip": text, "user_agent": text})
    optional = {
        "id": st.uuids(), "occurred_at": time, "actor": party, "targets": st.lists(party, max_size=3),
        "outcome": st.sampled_from(["success", "failure", "denied"]), "reason": text, "tenant": text,
        "changes": st.lists(change, max_size=3), "context": context, "data": data,
        "schema_version": st.integers(1, 2**31 - 1),
    }  # fmt: skip
    action = st.lists(WORD, min_size=2, max_size=4).map(".".join)
    return st.fixed_dictionaries({"action": action}, optional=optional)


GOOD_VALUE: Final = nested(SCALARS, TEXT)
GOOD: Final = events(TEXT, NAME, GOOD_VALUE, st.dictionaries(TEXT, GOOD_VALUE, max_size=5), TIME)
WILD_TEXT: Final = st.text(st.characters(exclude_categories=[]), max_size=5) | st.sampled_from(["\0", "\ud800"])
WILD_VALUE: Final = nested(
    SCALARS | WILD_TEXT | st.floats() | st.decimals() | st.binary() | st.datetimes(), WILD_TEXT | st.integers()
)
WILD: Final = events(WILD_TEXT, WILD_TEXT, WILD_VALUE, WILD_VALUE, TIME | st.datetimes())

# The examples share a connection, and each is rolled back.
PROPERTY: Final = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
STORED: Final = "SELECT event FROM pgaudit.audit_jobs"


@PROPERTY
@given(values=GOOD)
@example(values={"action": "a.b", "reason": "", "tenant": "", "data": {"": None, "a": [None, {}, []]}})
@example(
    values={"action": "a.b", "data": {"tiny": 5e-324, "huge": 1.7976931348623157e308, "zero": -0.0, "sum": 0.1 + 0.2}}
)
@example(
    values={
        "action": "a.b",
        "data": {"edge": 9_999_999_999_999_998.0, "past": 1e16, "big": 10**3_600, "small": -(10**3_600)},
    }
)
@example(values={"action": "a.b", "context": {}, "actor": {"type": "é" * 100, "id": "🧾" * 500}})
@example(values={"action": "a.b", "changes": [{"path": "x", "before": None, "after": False}]})
def test_an_event_comes_back_as_it_was(conn: Connection, settings: Settings, values: dict[str, Any]) -> None:
    """An event that was read from the queue or the log is equal to the recorded one."""
    try:
        made = accepted(values)
        AuditLog(settings).record(conn, made)
        (stored,) = conn.execute(STORED).fetchone() or ({},)
        assert AuditEvent.from_log(stored) == made
        assert conn.execute("SELECT taken, failures FROM pgaudit.persist(NULL, NULL, 10)").fetchone() == (1, [])
        (logged,) = conn.execute("SELECT event FROM pgaudit.audit_log").fetchone() or ({},)
        assert logged == stored
    finally:
        conn.rollback()


def accepted(values: dict[str, Any]) -> AuditEvent:
    """Returns the event; rejects the example if one of its times has no equivalent in UTC."""
    try:
        return AuditEvent(**values)
    except InvalidEvent as error:
        assume("no equivalent in UTC" not in str(error))
        raise


@PROPERTY
@given(values=WILD)
def test_any_event_is_recorded_whole_or_refused_by_name(
    conn: Connection, settings: Settings, values: dict[str, Any]
) -> None:
    """An accepted event comes back equal; a refused one raises InvalidEvent with the field, and sends nothing."""
    try:
        made = AuditEvent(**values)
    except InvalidEvent as error:
        field = str(error).partition(":")[0].partition(".")[0]
        assert field in values
        assert conn.info.transaction_status == TransactionStatus.IDLE
        return
    try:
        AuditLog(settings).record(conn, made)
        (stored,) = conn.execute(STORED).fetchone() or ({},)
        assert AuditEvent.from_log(stored) == made
    finally:
        conn.rollback()
