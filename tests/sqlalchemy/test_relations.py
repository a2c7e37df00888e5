"""Rows of a many-to-many relation go with a tracked object, or are refused."""

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from pgaudit import UntrackedChange
from tests.sqlalchemy.conftest import Recorded, actions
from tests.sqlalchemy.models import Claim, Tag, claim_tags


def test_a_deletion_takes_its_relations_along(session: Session, recorded: Recorded) -> None:
    """The rows between are deleted before the object, and with it: one event."""
    session.add(Claim(id=7, tags=[Tag(id=1), Tag(id=2)]))
    session.commit()
    session.delete(session.get_one(Claim, 7))
    session.commit()
    assert actions(recorded)[2:] == ["claim.deleted claim:7"]
    with pytest.raises(UntrackedChange):
        session.execute(delete(claim_tags))


def test_rows_that_no_object_explains_are_refused(session: Session, recorded: Recorded) -> None:
    """Those that go with an object at the other end, though the flush writes tracked objects, too, even this one."""
    session.add_all([Claim(id=7, tags=[Tag(id=1), Tag(id=2)]), Claim(id=8, tags=[Tag(id=3)])])
    session.commit()
    before = actions(recorded)
    refused = r"delete rows of claim_tags .* change the many-to-many relation of each Claim as well"
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
