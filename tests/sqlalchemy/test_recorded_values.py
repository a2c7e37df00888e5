"""track: the values before and after a flush."""

import hashlib
from datetime import date
from decimal import Decimal

from sqlalchemy import JSON, Engine
from sqlalchemy.orm import Session

from pgaudit import AuditLog, Change
from pgaudit.sqlalchemy import changes_of, track
from tests.sqlalchemy.conftest import Recorded, sides
from tests.sqlalchemy.models import Claim, Holder, Price, Tag


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
    values = sides(recorded()[0])
    sha256 = hashlib.sha256(b"x" * 70_000).hexdigest()
    assert values["note"]["after"] == {"omitted": True, "bytes": 70_000, "sha256": sha256}
    assert values["status"] == {"after": "open"}


def test_values_that_no_event_can_hold_do_not_break_a_flush(session: Session, recorded: Recorded) -> None:
    """A document that is nested too deep, or has a reserved key, is recorded as its text, as capture does."""
    session.add(Claim(id=7, doc={"_sd": [1]}))
    session.commit()
    assert sides(recorded()[0])["doc"] == {"after": '{"_sd": [1]}'}


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
