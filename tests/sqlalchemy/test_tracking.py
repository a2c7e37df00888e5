"""track: events of the objects that a flush writes."""

import asyncio
import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import JSON, Connection, Engine, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, object_session

from pgaudit import AuditLog, Change, InvalidEvent, Mode, NotInTransaction, OnFailure, Settings, UntrackedChange, bind
from pgaudit.recording.context import Request
from pgaudit.sqlalchemy import changes_of, track
from pgaudit.testing import recording
from pgaudit.testing.database import url_of
from tests.sqlalchemy.conftest import Recorded, sides
from tests.sqlalchemy.models import Base, Claim, Clerk, Club, Holder, Member, Person, Price, Tag, Team, claim_tags


def capture(dsn: str, table: str) -> None:
    """Captures a table, as its owner does."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pgaudit.add_capture(%s::regclass, %s, '{id}')", [table, table.rstrip("s")])


def actions(recorded: Recorded) -> list[str]:
    """Returns action and target of each event."""
    return [f"{entry.action} {entry.targets[0]}" for entry in recorded()]


def test_each_object_that_a_flush_writes_has_an_event(session: Session, recorded: Recorded) -> None:
    """Created with what it has, updated with what differs, deleted with what it had; with who has done it."""
    with bind(actor="user:42"):
        session.add(Claim(id=7, email="a@example.org", amount=Decimal("1.50")))
        session.commit()
        claim = session.get_one(Claim, 7)
        claim.status, claim.email = "paid", None
        session.commit()
        session.delete(claim)
        session.commit()
    created, updated, deleted = recorded()
    assert [event.action for event in (created, updated, deleted)] == [
        "claim.created",
        "claim.updated",
        "claim.deleted",
    ]
    assert {f"{event.targets} {event.actor}" for event in (created, updated, deleted)} == {f"{created.targets} user:42"}
    assert str(created.targets[0]) == "claim:7"
    assert sides(created) == {
        "id": {"after": 7},
        "amount": {"after": "1.50"},
        "email": {"after": "***"},
        "status": {"after": "open"},
        "updates": {"after": 0},
    }
    assert sides(updated) == {
        "status": {"before": "open", "after": "paid"},
        "email": {"before": "***", "after": "***"},
        "updates": {"before": 0, "after": 1},
    }
    assert sides(deleted) == {
        "id": {"before": 7},
        "amount": {"before": "1.50"},
        "status": {"before": "paid"},
        "updates": {"before": 1},
    }


def test_a_flush_sends_one_statement(session: Session, engine: Engine, recorded: Recorded) -> None:
    """Whatever it writes; a flush without a change sends none."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    session.add_all(Price(product=f"p,{n:02}", day=date(2026, 1, 1), price=Decimal(n)) for n in range(50))
    session.commit()
    assert sum("pgaudit" in statement for statement in sent) == 1
    prices = session.scalars(select(Price)).all()
    for price in prices:
        price.price = price.price + 0
    session.commit()
    assert sum("pgaudit" in statement for statement in sent) == 1
    assert len(recorded()) == 50
    assert actions(lambda: recorded()[:1]) == ["price.created price:p!,00,2026-01-01"]


def test_a_changed_key_is_a_second_target(session: Session, recorded: Recorded) -> None:
    """The first target is the row as it was found."""
    price = Price(product="tea", day=date(2026, 1, 1), price=Decimal(1))
    session.add(price)
    session.commit()
    price.product = "tee"
    session.commit()
    assert [(str(target), target.role) for target in recorded()[1].targets] == [
        ("price:tea,2026-01-01", None),
        ("price:tee,2026-01-01", "new"),
    ]


def test_values_that_were_never_loaded_are_read(session: Session, recorded: Recorded) -> None:
    """An expired object, deferred columns, SQL expressions, a relation that is set, and a document changed in place."""
    session.add_all([Holder(id=1), Holder(id=2)])
    session.flush()
    session.add(Claim(id=7, amount=Decimal(1), note="x", holder_id=1, doc={"n": 1}))
    session.commit()
    claim = session.get_one(Claim, 7)
    assert claim.doc
    claim.doc["n"] = 2
    session.expire(claim, ["amount", "holder_id"])
    claim.amount = Claim.amount + 1
    claim.note = "y"
    with session.no_autoflush:
        claim.holder = session.get_one(Holder, 2)
    session.commit()
    assert sides(recorded()[1]) == {
        "amount": {"before": "1.00", "after": "2.00"},
        "note": {"before": "x", "after": "y"},
        "holder_id": {"before": 1, "after": 2},
        "doc": {"before": {"n": 1}, "after": {"n": 2}},
        "updates": {"before": 0, "after": 1},
    }
    session.delete(claim)
    session.commit()
    assert sides(recorded()[2])["note"] == {"before": "y"}


def test_what_a_flush_does_to_other_objects_is_recorded(session: Session, recorded: Recorded) -> None:
    """Deleting a holder takes it from its claims."""
    session.add(Holder(id=1, claims=[Claim(id=7), Claim(id=8)]))
    session.commit()
    session.delete(session.get_one(Holder, 1))
    session.commit()
    assert actions(recorded)[2:] == ["claim.updated claim:7", "claim.updated claim:8"]
    assert sides(recorded()[2])["holder_id"] == {"before": 1, "after": None}


def test_a_rollback_leaves_no_event(session: Session, recorded: Recorded) -> None:
    """Of the whole transaction or to a savepoint; what is changed after it has the right value before."""
    claim = Claim(id=7)
    session.add(claim)
    session.commit()
    with session.begin_nested() as savepoint:
        claim.status = "closed"
        session.flush()
        savepoint.rollback()
    claim.status = "paid"
    session.commit()
    claim.status = "lost"
    session.flush()
    session.rollback()
    assert actions(recorded) == ["claim.created claim:7", "claim.updated claim:7"]
    assert sides(recorded()[1])["status"] == {"before": "open", "after": "paid"}


def test_many_to_many_relations_are_recorded(session: Session, recorded: Recorded) -> None:
    """As changes of the object that is tracked, from either side; keys that are added and keys that are removed."""
    claim, tags = Claim(id=7), [Tag(id=n) for n in range(3)]
    claim.tags = tags[:2]
    session.add_all([claim, *tags])
    session.commit()
    claim.tags = tags[1:]
    session.commit()
    claim.status = "paid"
    tags[0].claims.append(claim)
    session.commit()
    assert actions(recorded) == ["claim.created claim:7", *["claim.updated claim:7"] * 5]
    told = [sides(entry) for entry in recorded()]
    assert [told[n] for n in (1, 2, 3)] == [
        {"tags.added": {"after": [0, 1]}},
        {"tags.added": {"after": [2]}},
        {"tags.removed": {"before": [0]}},
    ]
    assert told[5] == {"tags.added": {"after": [0]}}


def test_relations_that_cannot_be_seen_are_refused(session: Session, recorded: Recorded, dsn: str) -> None:
    """Rows of the table between, written by hand, or for an object that is not tracked; unless they are captured."""
    session.add_all([Claim(id=7, tags=[Tag(id=1)]), Tag(id=2)])
    session.commit()
    with pytest.raises(UntrackedChange, match=r"delete rows of claim_tags .* Claim is tracked"):
        session.execute(delete(claim_tags))
    session.rollback()
    session.delete(session.get_one(Tag, 1))
    with pytest.raises(UntrackedChange, match="change the many-to-many relation of each Claim, too"):
        session.flush()
    session.rollback()
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pgaudit.add_capture('claim_tags', 'claim_tag', '{claim_id,tag_id}')")
    claim = session.get_one(Claim, 7)
    claim.tags.append(session.get_one(Tag, 2))
    session.commit()
    session.execute(delete(claim_tags).where(claim_tags.c.tag_id == 1))
    session.commit()
    assert actions(recorded)[2:] == ["claim_tag.created claim_tag:7,2", "claim_tag.deleted claim_tag:7,1"]


def test_a_deletion_takes_its_relations_along(session: Session, recorded: Recorded) -> None:
    """The rows between are deleted before the object, and with it: one event."""
    session.add(Claim(id=7, tags=[Tag(id=1), Tag(id=2)]))
    session.commit()
    session.delete(session.get_one(Claim, 7))
    session.commit()
    assert actions(recorded)[2:] == ["claim.deleted claim:7"]
    with pytest.raises(UntrackedChange):
        session.execute(delete(claim_tags))


def test_rows_between_that_nobody_tells_are_refused_in_a_flush(session: Session, recorded: Recorded) -> None:
    """Those that go with an object at the other end, though the flush writes tracked objects, too, even this one."""
    session.add_all([Claim(id=7, tags=[Tag(id=1), Tag(id=2)]), Claim(id=8, tags=[Tag(id=3)])])
    session.commit()
    before = actions(recorded)
    refused = r"delete rows of claim_tags .* change the many-to-many relation of each Claim, too"
    with session.no_autoflush:
        session.get_one(Claim, 7).status = "paid"
        session.delete(session.get_one(Tag, 1))
        with pytest.raises(UntrackedChange, match=refused):
            session.flush()
        session.rollback()
        session.delete(session.get_one(Claim, 8))
        session.delete(session.get_one(Tag, 1))
        with pytest.raises(UntrackedChange, match=refused):
            session.flush()
        session.rollback()
        assert actions(recorded) == before
        claim, tag = session.get_one(Claim, 7), session.get_one(Tag, 1)
        claim.tags.remove(tag)
        session.delete(tag)
        session.delete(session.get_one(Claim, 8))
        session.delete(session.get_one(Tag, 3))
        session.commit()
    assert sorted(actions(recorded)[len(before) :]) == ["claim.deleted claim:8", "claim.updated claim:7"]


@pytest.mark.parametrize("through", ["connection", "session"])
def test_a_statement_inside_a_flush_is_refused(session: Session, recorded: Recorded, through: str) -> None:
    """A mapper event may run it, while the flush writes tracked objects."""

    def change_others(_mapper: object, conn: Connection, claim: Claim) -> None:
        writer: Any = conn if through == "connection" else object_session(claim)
        writer.execute(update(Claim).values(status="paid"))

    session.add_all([Claim(id=7), Claim(id=8)])
    session.commit()
    event.listen(Claim, "after_update", change_others)
    try:
        session.get_one(Claim, 7).email = "a@example.org"
        with pytest.raises(UntrackedChange, match="update rows of claims"):
            session.flush()
    finally:
        event.remove(Claim, "after_update", change_others)
    session.rollback()
    assert len(recorded()) == 2


def test_null_of_json_is_recorded_as_null(session: Session, recorded: Recorded) -> None:
    """SQLAlchemy loads it as None, and so does not tell it from SQL's."""
    price = Price(product="fire", day=date(2026, 1, 1), price=1, terms=JSON.NULL)
    session.add(price)
    session.commit()
    price.terms = {"n": 1}
    session.commit()
    assert price.terms
    price.terms = JSON.NULL
    assert changes_of(price) == (Change(path="terms", before={"n": 1}, after=None),)
    session.commit()
    created, _set, removed = map(sides, recorded())
    assert "terms" not in created
    assert removed["terms"] == {"before": {"n": 1}, "after": None}


BULK: dict[str, Any] = {
    "update": lambda session: session.execute(update(Claim).values(status="x")),
    "update of a subquery": lambda session: session.execute(
        update(Claim).where(Claim.id.in_(select(Claim.id))).values(status="x")
    ),
    "insert": lambda session: session.execute(insert(Claim).values(id=8)),
    "insert of many": lambda session: session.execute(insert(Claim), [{"id": 8}, {"id": 9}]),
    "returning": lambda session: session.scalars(insert(Claim).returning(Claim), [{"id": 8}, {"id": 9}]).all(),
    "update by key": lambda session: session.execute(update(Claim), [{"id": 7, "status": "x"}]),
    "delete": lambda session: session.execute(delete(Claim)),
    "query": lambda session: session.query(Claim).delete(),
    "table": lambda session: session.execute(delete(Base.metadata.tables["claims"])),
    "connection": lambda session: session.connection().execute(delete(Claim)),
    "cte": lambda session: session.execute(select(delete(Claim).returning(Claim.id).cte())),
    "bulk_save_objects": lambda session: session.bulk_save_objects([Claim(id=8)]),
    "bulk_insert_mappings": lambda session: session.bulk_insert_mappings(Claim, [{"id": 8}]),
    "bulk_update_mappings": lambda session: session.bulk_update_mappings(Claim, [{"id": 7, "status": "x"}]),
    "subclass": lambda session: session.execute(update(Clerk).values(desk="x")),
}


@pytest.mark.parametrize("statement", BULK)
def test_a_statement_without_objects_is_refused(session: Session, recorded: Recorded, dsn: str, statement: str) -> None:
    """Each kind of it, with a sentence that says what to do; where the table is captured, it goes on."""
    session.add_all([Claim(id=7), Clerk(id=1, name="ada", desk="3")])
    session.commit()
    message = r"without an event for each object: (Claim|Clerk) is tracked .*pgaudit capture add (claims|clerks)"
    with pytest.raises(UntrackedChange, match=message):
        BULK[statement](session)
    session.rollback()
    assert len(recorded()) == 2
    capture(dsn, "claims")
    capture(dsn, "clerks")
    BULK[statement](session)
    session.commit()
    assert len(recorded()) > 2


def test_a_failed_flush_does_not_hide_a_statement(session: Session) -> None:
    """After an error in a flush, statements are looked at again, on the same connection, too."""
    session.add(Claim(id=7))
    session.commit()
    with pytest.raises(IntegrityError) as kept, session.begin_nested():
        session.add(Claim(id=7))
        session.flush()
    with pytest.raises(UntrackedChange):
        session.execute(delete(Claim))
    assert kept.value
    session.rollback()


def test_with_capture_a_change_is_recorded_once(session: Session, recorded: Recorded, dsn: str) -> None:
    """By the trigger; after its pause, by the flush again."""
    capture(dsn, "claims")
    session.add(Claim(id=7))
    session.commit()
    assert [entry.context.source for entry in recorded() if entry.context] == ["database"]
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pgaudit.pause_capture('claims', true)")
    session.get_one(Claim, 7).status = "paid"
    session.commit()
    assert actions(recorded) == ["claim.created claim:7", "claim.updated claim:7"]
    assert recorded()[1].context is None


@pytest.fixture(params=[(mode, on_failure) for mode in Mode for on_failure in OnFailure])
def changed(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Settings with each mode, and with and without a spool."""
    mode, on_failure = request.param
    return settings.model_copy(update={"mode": mode, "on_failure": on_failure, "spool_dir": tmp_path / "spool"})


def test_each_mode_leaves_captured_rows_out(engine: Engine, recorded: Recorded, changed: Settings, dsn: str) -> None:
    """With inline and with a spool, too; with off, the trigger alone records."""
    for mapped, target in ((Claim, "claim"), (Price, "price")):
        track(AuditLog(changed), mapped, target=target)
    capture(dsn, "claims")
    with Session(engine) as session:
        session.add_all([Claim(id=7), Price(product="tea", day=date(2026, 1, 1), price=Decimal(1))])
        session.commit()
    created = ["claim.created claim:7", "price.created price:tea,2026-01-01"]
    assert sorted(actions(recorded)) == (created[:1] if changed.mode == Mode.OFF else created)


def test_objects_in_two_tables_are_recorded_once(session: Session, recorded: Recorded, dsn: str) -> None:
    """With the columns of both; of a table that is captured, its trigger records the columns."""
    session.add(Clerk(id=1, name="ada", desk="3"))
    session.commit()
    assert sides(recorded()[0]) == {
        name: {"after": value} for name, value in {"id": 1, "kind": "clerk", "name": "ada", "desk": "3"}.items()
    }
    capture(dsn, "clerks")
    clerk = session.get_one(Person, 1)
    clerk.name, clerk.desk = "bob", "4"  # type: ignore[attr-defined]
    session.commit()
    assert sorted(actions(recorded)[1:]) == ["clerk.updated clerk:1", "person.updated person:1"]
    assert sorted(path for entry in recorded()[1:] for path in sides(entry)) == ["desk", "name"]


def test_fields_limit_what_is_recorded(engine: Engine, audit: AuditLog, recorded: Recorded) -> None:
    """A change of other attributes alone is no event."""
    track(audit, Claim, target="case", action="case.file", fields=["status"])
    with Session(engine) as session:
        session.add(Claim(id=7, amount=Decimal(1), tags=[Tag(id=1)]))
        session.commit()
        session.get_one(Claim, 7).amount = Decimal(2)
        session.commit()
    (entry,) = recorded()
    assert (entry.action, str(entry.targets[0]), sides(entry)) == (
        "case.file.created",
        "case:7",
        {"status": {"after": "open"}},
    )


def test_a_value_that_is_too_large_is_left_out(session: Session, recorded: Recorded) -> None:
    """The change goes on, and the event has the size and the hash of the value."""
    session.add(Claim(id=7, note="x" * 70_000, status="open"))
    session.commit()
    told = sides(recorded()[0])
    sha256 = hashlib.sha256(b"x" * 70_000).hexdigest()
    assert told["note"]["after"] == {"omitted": True, "bytes": 70_000, "sha256": sha256}
    assert told["status"] == {"after": "open"}


def test_values_that_no_event_can_hold_do_not_break_a_flush(session: Session, recorded: Recorded) -> None:
    """A document that is nested too deep, or has a reserved key, is recorded as its text, as capture does."""
    session.add(Claim(id=7, doc={"_sd": [1]}))
    session.commit()
    assert sides(recorded()[0])["doc"] == {"after": '{"_sd": [1]}'}


@pytest.mark.usefixtures("audit")
def test_without_a_transaction_the_change_is_refused(engine: Engine) -> None:
    """As record refuses it: the row and its event would be committed apart."""
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session, pytest.raises(NotInTransaction):
        session.add(Claim(id=7))
        session.flush()


def test_what_cannot_be_tracked_is_refused(audit: AuditLog) -> None:
    """A class that is not mapped, an attribute that it lacks, a name that no action can begin with."""
    with pytest.raises(InvalidEvent, match="is not a mapped class"):
        track(audit, str, target="text")
    with pytest.raises(InvalidEvent, match=r"^Table is not a mapped class"):
        track(audit, cast("Any", claim_tags), target="claim_tag")
    with pytest.raises(InvalidEvent, match="Claim has no column statsu; it has amount"):
        track(audit, Claim, target="claim", mask=["statsu"])
    with pytest.raises(InvalidEvent, match="is not of the form"):
        track(audit, Claim, target="Claim")


def test_events_can_be_kept_in_memory(session: Session, recorded: Recorded) -> None:
    """As a test of the application does it."""
    with recording() as events:
        session.add(Claim(id=7))
        session.commit()
    assert [event.action for event in events] == ["claim.created"]
    assert recorded() == []


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.usefixtures("audit")
async def test_asynchronous_sessions_are_tracked(recorded: Recorded, dsn: str, driver: str) -> None:
    """On both drivers; a statement without objects is refused there, too."""
    engine = create_async_engine(url_of(dsn, f"postgresql+{driver}"))
    async with AsyncSession(engine, expire_on_commit=False) as asynchronous:
        claim = Claim(id=7, tags=[Tag(id=1)])
        asynchronous.add(claim)
        await asynchronous.commit()
        claim.note = "y"
        await asynchronous.commit()
        with pytest.raises(UntrackedChange):
            await asynchronous.execute(delete(Claim))
    await engine.dispose()
    assert sides(recorded()[2]) == {"note": {"before": None, "after": "y"}, "updates": {"before": 0, "after": 1}}


async def test_an_actor_that_has_to_be_awaited_is_found(recorded: Recorded, audit: AuditLog, dsn: str) -> None:
    """That of an asynchronous request, which a flush finds as record_async does."""

    async def find() -> str:
        await asyncio.sleep(0)
        return "user:42"

    engine = create_async_engine(url_of(dsn, "postgresql+asyncpg"))
    async with AsyncSession(engine) as session:
        with Request({"request_id": "r-1"}, lookup_async=find).serving():
            session.add(Claim(id=7))
            await session.commit()
    await engine.dispose()
    assert audit
    (entry,) = recorded()
    assert str(entry.actor) == "user:42"


def test_an_update_that_follows_is_recorded(engine: Engine, audit: AuditLog, recorded: Recorded) -> None:
    """With post_update, which writes a foreign key by a statement of its own."""
    track(audit, Team, target="team")
    with Session(engine) as session:
        team = Team(id=1, members=[Member(id=1), Member(id=2)])
        team.lead = team.members[0]
        session.add(team)
        session.commit()
        team.lead = team.members[1]
        session.commit()
    told = [sides(entry) for entry in recorded()]
    assert told == [{"id": {"after": 1}, "lead_id": {"after": 1}}, {"lead_id": {"before": 1, "after": 2}}]
    track(audit, Member, target="member")
    with Session(engine) as session:
        session.add(Club(id=1, members=[Member(id=3)]))
        session.commit()
        session.delete(session.get_one(Club, 1))
        session.commit()
    assert [sides(entry) for entry in recorded()][2:] == [
        {"id": {"after": 3}, "club_id": {"after": 1}},
        {"club_id": {"before": 1, "after": None}},
    ]


def test_objects_that_a_relation_leaves_behind_are_recorded(
    engine: Engine, audit: AuditLog, recorded: Recorded
) -> None:
    """With delete-orphan, as deleted."""
    track(audit, Member, target="member")
    with Session(engine) as session:
        team = Team(id=1, members=[Member(id=1), Member(id=2)])
        session.add(team)
        session.commit()
        del team.members[0]
        session.commit()
    assert actions(recorded)[2:] == ["member.deleted member:1"]


def test_sql_as_text_is_not_seen(session: Session, recorded: Recorded) -> None:
    """As the documentation says."""
    session.execute(text("INSERT INTO claims (id) VALUES (7)"))
    session.commit()
    assert recorded() == []
