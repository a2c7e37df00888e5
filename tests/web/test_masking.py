"""Masking: a value that a viewer may not see is nowhere in the event, and no search or hash tells it."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from starlette.exceptions import HTTPException

from pgaudit import Settings
from pgaudit._exact_json import to_json
from pgaudit.trail import Entry, Query, Term, parse
from pgaudit.web.access import RequestUserAccess, Scope, TokenAccess
from pgaudit.web.guard import Viewer
from pgaudit.web.masked_searches import refuse_masked
from pgaudit.web.masking import masked, masked_value

NOW = datetime(2026, 7, 1, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "id": "01890000-0000-7000-8000-000000000000",
    "action": "claim.paid",
    "outcome": "success",
    "reason": "asked by phone",
    "tenant": "north",
    "actor": {"type": "user", "id": "42", "name": "Ada"},
    "targets": [{"type": "claim", "id": "7", "name": "Fire"}, {"type": "policy", "id": "p", "name": "Home"}],
    "context": {"ip": "192.0.2.7", "request_id": "r-1"},
    "changes": [{"path": "iban", "before": "DE1", "after": "DE2"}, {"path": "status", "after": {"code": 1}}],
    "data": {
        "amount": Decimal("10.50"),
        "email": "ada@example.org",
        "address": {"city": "Berlin", "zip": "10115"},
        "phones": ["030 1", {"kind": "work", "number": "030 2"}],
        "urgent": True,
    },
}
HIDDEN = "(hidden)"
Mask = Callable[[object, str, object], object]


def entry(event: dict[str, Any] = EVENT) -> Entry:
    """Returns an entry of the log with that event."""
    return Entry(
        7, UUID(event["id"]), NOW, NOW, NOW, "claim.paid", "success", "user", "42", "claim", "7", "north",
        b"hash", None, to_json(event),
    )  # fmt: skip


def viewer(mask: Mask) -> Viewer:
    """Returns a viewer whose values are masked so."""
    access = RequestUserAccess(allows=lambda _user, _action: True, mask=mask)
    return Viewer("ada", "ada", frozenset({"read"}), Scope().as_query(), access)


def hiding(*paths: str) -> Viewer:
    """Returns a viewer who does not see the values at these paths."""
    return viewer(lambda _user, path, value: HIDDEN if path in paths else value)


@pytest.mark.parametrize(
    ("path", "secrets"),
    [
        ("data.email", ["ada@example.org"]),
        ("data.address.city", ["Berlin"]),
        ("data.address", ["Berlin", "10115"]),
        ("data.phones", ["030 1", "030 2"]),
        ("data.phones.number", ["030 2"]),
        ("data", ["10.50", "Berlin"]),
        ("changes", ["DE1", "DE2"]),
        ("changes.iban", ["DE1", "DE2"]),
        ("changes.iban.before", ["DE1"]),
        ("changes.status.after.code", ["'code': 1"]),
        ("actor.name", ["Ada"]),
        ("actor", ["Ada", "42"]),
        ("targets.name", ["Fire", "Home"]),
        ("targets", ["Fire", "policy"]),
        ("context.ip", ["192.0.2.7"]),
        ("reason", ["by phone"]),
        ("tenant", ["north"]),
    ],
)
def test_a_masked_value_is_nowhere(path: str, secrets: list[str]) -> None:
    """Not in the event, its columns, its text or its hash; the stored event is as it was."""
    before = deepcopy(EVENT)
    shown = masked(hiding(path), entry())
    assert shown.is_masked
    assert (shown.text, shown.leaf_hash) == (None, None)
    assert HIDDEN in repr(shown)
    assert [secret for secret in secrets if secret in repr(shown)] == []
    assert before == EVENT


def test_an_event_without_a_masked_value_is_shown_as_it_is() -> None:
    """With its text and its hash."""
    for who in (hiding("data.iban"), admin()):
        shown = masked(who, entry())
        assert not shown.is_masked
        assert (shown.text, shown.leaf_hash) == (to_json(EVENT), b"hash")
        assert (shown.actor, shown.target, shown.tenant, shown.action) == ("user:42", "claim:7", "north", "claim.paid")
        assert shown.event == EVENT


def admin() -> Viewer:
    """Returns the viewer who has the token."""
    access = TokenAccess(Settings())
    return Viewer("admin", "admin", frozenset({"read"}), Query(), access)


def test_a_mask_that_changes_a_value_in_place_is_noticed() -> None:
    """The event of others stays as it is, and the hash is withheld."""

    def drop(_user: object, path: str, value: Any) -> object:
        if path == "data":
            value.pop("email")
        return value

    before = deepcopy(EVENT)
    shown = masked(viewer(drop), entry())
    assert shown.is_masked
    assert "ada@example.org" not in repr(shown)
    assert before == EVENT


def test_ids_and_times_are_always_shown() -> None:
    """A page is in the order of the log, whoever sees it: their mask is not asked."""
    who = hiding("id", "occurred_at", "recorded_at")
    assert not masked(who, entry()).is_masked
    refuse_masked(who, parse("id:01890000-0000-7000-8000-000000000000 before:7d occurred_after:2026-01-01"))


def test_a_value_of_another_type_is_another_value() -> None:
    """1 in place of true would be seen by the hash."""
    shown = masked(viewer(lambda _user, path, value: 1 if path == "data.urgent" else value), entry())
    assert (shown.is_masked, shown.leaf_hash) == (True, None)


def test_a_mask_that_fails_shows_nothing() -> None:
    """403 instead of the event."""

    def fail(_user: object, path: str, value: object) -> object:
        if path == "data.email":
            raise RuntimeError("no decision")
        return value

    with pytest.raises(HTTPException) as error:
        masked(viewer(fail), entry())
    assert error.value.status_code == 403


def test_a_single_value_is_masked_by_its_path() -> None:
    """As timelines show the fields of changes."""
    assert masked_value(hiding("changes.iban.after"), "changes.iban.after", "DE2") == HIDDEN
    assert masked_value(hiding("changes.iban.after"), "changes.iban.before", "DE1") == "DE1"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("data.email", "data.email:ada@example.org"),
        ("data.email", "-data.email:ada@example.org"),
        ("data.email", 'data:{"email": "ada@example.org"}'),
        ("data.email", 'action:claim.paid data:{"amount": 1, "email": "x"}'),
        ("data.address", "data.address.city:Berlin"),
        ("data", "data.address.city:Berlin"),
        ("data.phones", "data.phones.0:x"),
        ("data.phones.number", "data.phones.1.number:x"),
        ("data.phones.number", 'data:{"phones": [{"number": "x"}]}'),
        ("data.address.city", r'data.address:"{\"city\": \"Berlin\"}"'),
        ("data.phones.number", r'data.phones:"[{\"number\": \"x\"}]"'),
        ("data.phones.1", "data.phones.0.1:x"),
        ("changes", 'changes:{"path": "iban", "after": "DE2"}'),
        ("changes.iban", 'changes:{"path": "iban", "after": "DE2"}'),
        ("changes.iban.after", 'changes:{"path": "iban", "after": "DE2"}'),
        ("changes.iban.after", 'changes:{"after": "DE2"}'),
        ("changes.iban.after.country", 'changes:{"path": "iban", "after": {"country": "DE"}}'),
        ("actor.id", "actor:user:42"),
        ("actor", "actor:user:*"),
        ("targets.id", "target:claim:7"),
        ("tenant", "tenant:north,south"),
        ("context.ip", "ip:192.0.2.7"),
        ("context.request_id", "request:r-1"),
        ("outcome", "outcome:denied"),
        ("action", "action:claim.*"),
    ],
)
def test_a_search_for_a_masked_value_is_refused(path: str, query: str) -> None:
    """It would tell whether the hidden value is the one that it names. Who sees the value may search for it."""
    with pytest.raises(HTTPException) as error:
        refuse_masked(hiding(path), parse(query))
    assert error.value.status_code == 403
    refuse_masked(admin(), parse(query))
    if "path" in query or "changes" not in query:
        refuse_masked(hiding("data.other"), parse(query))


def test_a_mask_of_some_values_refuses_searches_for_those() -> None:
    """Numbers are found by their text, so that both are asked about."""
    who = viewer(lambda _user, _path, value: HIDDEN if value in (42, "DE2") else value)
    for query in ("data.amount:42", "data.iban:DE2"):
        with pytest.raises(HTTPException):
            refuse_masked(who, parse(query))
    refuse_masked(who, parse("data.amount:43 data.iban:DE3"))


def test_a_mask_is_asked_about_the_numbers_of_a_search_as_about_those_of_an_event() -> None:
    """Decimals, however many digits they have."""

    def hide(_user: object, _path: str, value: object) -> object:
        return HIDDEN if isinstance(value, Decimal) and value > 1_000 else value

    long = "9" * 5_000
    searches = [
        parse("data.amount:1000.50"),
        parse('data:{"amount": 1000.50}'),
        Query((Term("data.amount", (long,)),)),
        Query((Term("data", (f'{{"amount": {long}}}',)),)),
    ]
    for query in searches:
        with pytest.raises(HTTPException) as error:
            refuse_masked(viewer(hide), query)
        assert error.value.status_code == 403
    refuse_masked(viewer(hide), parse("data.amount:999.50"))


def test_a_path_of_many_numbers_is_refused() -> None:
    """Each may be a key or a place in a list: nobody can ask about all of them."""
    with pytest.raises(HTTPException):
        refuse_masked(hiding("data.other"), parse(f"data{'.0' * 90}:x"))
