"""Statements that change rows of a tracked class without a flush are refused."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, object_session

from pgaudit import UntrackedChange
from tests.sqlalchemy.conftest import Recorded, actions, capture
from tests.sqlalchemy.models import Base, Claim, Clerk, Tag, claim_tags


def test_relations_that_cannot_be_seen_are_refused(session: Session, recorded: Recorded, dsn: str) -> None:
    """Rows of the table between, written by hand, or for an object that is not tracked; unless they are captured."""
    session.add_all([Claim(id=7, tags=[Tag(id=1)]), Tag(id=2)])
    session.commit()
    with pytest.raises(UntrackedChange, match=r"delete rows of claim_tags .* Claim is tracked"):
        session.execute(delete(claim_tags))
    session.rollback()
    session.delete(session.get_one(Tag, 1))
    with pytest.raises(UntrackedChange, match="change the many-to-many relation of each Claim as well"):
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


def test_sql_as_text_is_not_seen(session: Session, recorded: Recorded) -> None:
    """track sees statements of SQLAlchemy only, as its documentation says."""
    session.execute(text("INSERT INTO claims (id) VALUES (7)"))
    session.commit()
    assert recorded() == []
