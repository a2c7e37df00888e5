"""track: events of the objects that a flush writes."""

from datetime import date
from decimal import Decimal
from typing import Any, cast

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from pgaudit import AuditLog, InvalidEvent, NotInTransaction, bind
from pgaudit.sqlalchemy import track
from pgaudit.testing import recording
from tests.sqlalchemy.conftest import Recorded, actions, sides
from tests.sqlalchemy.models import Claim, Club, Holder, Member, Price, Tag, Team, claim_tags


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


def test_what_a_flush_does_to_other_objects_is_recorded(session: Session, recorded: Recorded) -> None:
    """Deleting a holder sets the foreign key of its claims to NULL."""
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
    changes = [sides(entry) for entry in recorded()]
    assert [changes[n] for n in (1, 2, 3)] == [
        {"tags.added": {"after": [0, 1]}},
        {"tags.added": {"after": [2]}},
        {"tags.removed": {"before": [0]}},
    ]
    assert changes[5] == {"tags.added": {"after": [0]}}


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
    """Inside of recording(), a flush hands its events to the test instead of the database."""
    with recording() as events:
        session.add(Claim(id=7))
        session.commit()
    assert [event.action for event in events] == ["claim.created"]
    assert recorded() == []


def test_the_second_update_of_post_update_is_recorded(engine: Engine, audit: AuditLog, recorded: Recorded) -> None:
    """With post_update, which writes a foreign key by a statement of its own."""
    track(audit, Team, target="team")
    with Session(engine) as session:
        team = Team(id=1, members=[Member(id=1), Member(id=2)])
        team.lead = team.members[0]
        session.add(team)
        session.commit()
        team.lead = team.members[1]
        session.commit()
    changes = [sides(entry) for entry in recorded()]
    assert changes == [{"id": {"after": 1}, "lead_id": {"after": 1}}, {"lead_id": {"before": 1, "after": 2}}]
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


def test_orphans_are_recorded_as_deleted(engine: Engine, audit: AuditLog, recorded: Recorded) -> None:
    """An object that delete-orphan removes has an event like one that was deleted."""
    track(audit, Member, target="member")
    with Session(engine) as session:
        team = Team(id=1, members=[Member(id=1), Member(id=2)])
        session.add(team)
        session.commit()
        del team.members[0]
        session.commit()
    assert actions(recorded)[2:] == ["member.deleted member:1"]
