"""Adding captures and guards from Python, pausing, renewing and removing them."""

from typing import Any

import pytest

from pgaudit.errors import CaptureRefused
from pgaudit.guard import captures, guards, statements
from pgaudit.guard.example import example_event
from tests.support.queries import Connection

TAKEN = "SELECT event FROM pgaudit.audit_jobs WHERE event->>'action' LIKE 'claim.%' ORDER BY id"
Module = Any
GET: dict[Module, Any] = {captures: captures.get_capture, guards: guards.get_guard}
LIST: dict[Module, Any] = {captures: captures.list_captures, guards: guards.list_guards}


def test_a_capture_has_the_given_options(owner: Connection) -> None:
    """All options; adding again replaces them."""
    added = captures.add(
        owner, "claims", target="claim", key=("tenant", "id"), action="case.claim", columns=["status", "iban"],
        exclude="at", mask="iban", when="new.status IS DISTINCT FROM old.status",
    )  # fmt: skip
    assert (added.table, added.target, added.key, added.action) == (
        "public.claims",
        "claim",
        ["tenant", "id"],
        "case.claim",
    )
    assert (added.columns, added.exclude, added.mask) == (["status", "iban"], ["at"], ["iban"])
    assert added.when == "new.status IS DISTINCT FROM old.status"
    assert (added.state, added.level, added.level_reason, added.children) == ("captured", "statement", None, [])
    assert captures.add(owner, "claims", target="claim", key="id") == captures.list_captures(owner)[0]
    assert captures.list_captures(owner)[0].columns is None


def test_a_guard_has_the_given_options(owner: Connection) -> None:
    """One pattern is that of all operations."""
    added = guards.add(
        owner, "claims", target="Claim", action="claim", key="id", on_missing="capture", actions="claim.*",
        changes=True, exclude=("at",), mask=("iban",), when="new.amount > 5",
    )  # fmt: skip
    assert (added.target, added.action, added.on_missing, added.changes) == ("Claim", "claim", "capture", True)
    assert added.actions == dict.fromkeys(("insert", "update", "delete", "truncate"), "claim.*")
    assert (added.exclude, added.mask, added.when, added.state) == (["at"], ["iban"], "new.amount > 5", "guarded")
    other = guards.add(owner, "claims", target="claim", key="id", actions={"delete": "x.y"})
    assert other.actions == {"delete": "x.y"}
    assert guards.list_guards(owner)[0].on_missing == "abort"


@pytest.mark.parametrize("module", [captures, guards])
def test_captures_and_guards_are_paused_resumed_renewed_and_removed(owner: Connection, module: Module) -> None:
    """Each is an event about the table; a pause outlives a renewal."""
    module.add(owner, "claims", target="claim", key="id", mask="iban")
    module.pause(owner, "claims")
    assert (GET[module](owner, "claims").state, GET[module](owner, "claims").paused_by) == ("paused", "postgres")
    assert module.renew(owner, "claims").state == "paused"
    module.resume(owner, "public.claims")
    assert GET[module](owner, "claims").mask == ["iban"]
    assert not GET[module](owner, "claims").is_paused
    module.remove(owner, "claims")
    assert LIST[module](owner) == []
    actions = owner.execute("SELECT event->>'action' FROM pgaudit.audit_jobs ORDER BY id").fetchall()
    assert [action.rpartition("_")[2] for (action,) in actions] == [
        "added", "paused", "added", "paused", "resumed", "removed",
    ]  # fmt: skip


@pytest.mark.parametrize("module", [captures, guards])
@pytest.mark.parametrize("name", ["remove", "pause", "resume", "renew", "get"])
def test_a_table_that_is_not_captured_or_guarded_is_named(owner: Connection, module: Module, name: str) -> None:
    """The sentence has the command that shows what is."""
    with pytest.raises(
        CaptureRefused, match=r"^claims is not (captured|guarded): `pgaudit (capture|guard) list` shows"
    ):
        (GET[module] if name == "get" else getattr(module, name))(owner, "claims")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("nowhere", {}, 'relation "nowhere" does not exist'),
        ("nowhere.claims", {}, 'schema "nowhere" does not exist'),
        ("a.b.c.d", {}, "improper relation name"),
        ("pgaudit.audit_log", {}, "is not a table of the application"),
        ("claims", {"key": "no"}, "it has no column no; its columns are amount, at, iban"),
        ("claims", {"key": ()}, "the key has no column"),
        ("claims", {"target": ""}, "1 to 100 characters"),
        ("claims", {"target": "Claim"}, "cannot begin an action"),
        (
            "claims",
            {"when": "status = 'x'"},
            'the condition is not valid: column reference "status" is ambiguous.* Name',
        ),
        ("claims", {"when": "new.no = 1"}, "the condition is not valid: column new.no does not exist"),
        ("claims", {"when": "is_large(new.amount)"}, "function is_large.numeric. does not exist.*with their schema"),
        ("claims", {"when": "new.amount"}, "must be type boolean"),
        ("claims", {"when": "new.amount >"}, "the condition is not valid: syntax error"),
        ("claims", {"when": "true); DROP TABLE public.claims; --"}, "the condition is not valid"),
        ("claims", {"when": "max(new.amount) > 1"}, "aggregate functions are not allowed"),
    ],
)
@pytest.mark.parametrize("module", [captures, guards])
def test_what_cannot_be_captured_is_refused_when_it_is_added(
    owner: Connection, module: Module, table: str, options: dict[str, Any], message: str
) -> None:
    """With the database's sentence; the caller's transaction can go on."""
    with owner.transaction():
        with pytest.raises(CaptureRefused, match=message):
            module.add(owner, table, **{"target": "claim", "key": "id"} | options)
        owner.execute("INSERT INTO claims (id) VALUES (1)")
    assert owner.execute("SELECT count(*) FROM claims").fetchone() == (1,)
    assert LIST[module](owner) == []


def test_a_condition_may_call_functions_with_their_schema(owner: Connection) -> None:
    """And an UPDATE that it does not hold for is no event; what is in the condition is not run when it is added."""
    owner.execute("CREATE FUNCTION is_large(numeric) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 100'")
    captures.add(
        owner, "claims", target="claim", key="id", when="public.is_large(new.amount) AND new IS DISTINCT FROM old"
    )
    owner.execute("INSERT INTO claims (id, amount) VALUES (1, 1); UPDATE claims SET amount = 2")
    owner.execute("UPDATE claims SET amount = 200")
    assert [event["action"] for (event,) in owner.execute(TAKEN).fetchall()] == ["claim.created", "claim.updated"]
    captures.add(owner, "claims", target="claim", key="id", when="1 / (new.id - new.id) = 1")


def test_other_options_of_a_guard_are_refused(owner: Connection) -> None:
    """Wrong values of on_missing, operations and patterns are errors."""
    options: list[tuple[dict[str, Any], str]] = [
        ({"on_missing": "ignore"}, "on_missing must be abort, capture or warn"),
        ({"actions": {"upsert": "claim.*"}}, "upsert"),
        ({"actions": "Claim %"}, "is no pattern of an action"),
    ]
    for given, message in options:
        with pytest.raises(CaptureRefused, match=message):
            guards.add(owner, "claims", target="claim", key="id", **given)


def test_a_name_may_need_its_schema_or_quotes(owner: Connection) -> None:
    """The search path decides what is added; when one is looked for, all tables of that name are named."""
    captures.add(owner, "insurance.claims", target="claim", key="id")
    assert captures.get_capture(owner, "claims").table == "insurance.claims"
    captures.add(owner, "claims", target="claim", key="id")
    with pytest.raises(CaptureRefused, match=r"claims is ambiguous: name one of insurance\.claims, public\.claims"):
        captures.get_capture(owner, "claims")
    assert captures.renew(owner, "claims").table == "public.claims"
    assert captures.add(owner, '"Odd name"', target="odd", key="id").table == "public.Odd name"
    assert captures.get_capture(owner, '"Odd name"') == captures.get_capture(owner, "public.Odd name")


def test_the_example_has_the_recorded_columns(owner: Connection) -> None:
    """Masked values are masked; the key is the target."""
    added = captures.add(owner, "claims", target="claim", key=("tenant", "id"), exclude="amount", mask="iban")
    example = example_event(owner, added)
    assert example["targets"] == [{"type": "claim", "id": "7,7"}]
    assert [(change["path"], change["before"]) for change in example["changes"]] == [
        ("status", "a"), ("iban", "***"), ("at", "2026-01-31T09:30:00+00:00"),
    ]  # fmt: skip


def test_the_statements_for_migrations_add_and_remove_as_functions_do(owner: Connection) -> None:
    """Values with quotes, backslashes and percent signs arrive as they are."""
    when = r"new.status LIKE 'a\%''%' OR new.amount::int = 1"
    owner.execute(statements.add_capture("claims", target="claim", key="id", mask=["iban"], when=when).encode())
    assert captures.get_capture(owner, "claims").when == when
    owner.execute(statements.add_guard("claims", target="claim", key="id", actions="claim.*", changes=True).encode())
    assert guards.get_guard(owner, "claims").changes
    owner.execute(f"{statements.remove_guard('claims')}; {statements.remove_capture('claims')}".encode())
    assert captures.list_captures(owner) == []
