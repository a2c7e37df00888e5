"""changes_of: the changes of a mapped object, before and after a flush."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgaudit import InvalidEvent, UntrackedChange
from pgaudit.sqlalchemy import changes_of
from pgaudit.testing.database import url_of
from tests.sqlalchemy.models import Claim, Kind, Price


def changes_by_path(obj: object, **options: list[str]) -> dict[str, tuple[object, ...]]:
    """Returns before and after by path, as far as they are given."""
    return {
        change.path: tuple(getattr(change, side) for side in ("before", "after") if side in change.model_fields_set)
        for change in changes_of(obj, **options)
    }


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session in which nothing is tracked."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def claim(session: Session) -> Claim:
    """A claim that is committed, and expired since then."""
    claim = Claim(id=7, status="open", amount=Decimal("10.00"), email="a@example.org", doc={"n": 1}, note="x")
    session.add(claim)
    session.commit()
    return claim


def test_changes_of_a_new_object_are_its_values(session: Session) -> None:
    """Before the flush what was set, after it what the database has chosen as well; null is left out."""
    claim = Claim(amount=Decimal("1.50"), due=date(2026, 1, 2), kind=Kind.FIRE, reference=UUID(int=1), labels=["a"])
    claim.noted, claim.scan = datetime(2026, 1, 2, 3, 4), b"\x01\xff"  # noqa: DTZ001 - the column has no zone
    expected: dict[str, tuple[object, ...]] = {
        "amount": ("1.50",),
        "due": ("2026-01-02",),
        "noted": ("2026-01-02T03:04:00",),
        "kind": ("fire",),
        "reference": ("00000000-0000-0000-0000-000000000001",),
        "labels": (["a"],),
        "scan": ("\\x01ff",),
    }
    assert changes_by_path(claim) == expected
    session.add(claim)
    assert changes_by_path(claim) == expected
    session.flush()
    assert changes_by_path(claim) == expected | {"id": (claim.id,), "status": ("open",), "updates": (0,)}


def test_changes_of_a_changed_object_are_the_differences(session: Session, claim: Claim) -> None:
    """Before the flush and after it; a value that was set to what it was is none."""
    assert claim.status == "open"
    claim.status, claim.amount = "paid", Decimal("10.0")
    assert changes_by_path(claim) == {"status": ("open", "paid")}
    session.flush()
    claim.due = date(2026, 1, 2)
    assert changes_by_path(claim) == {"status": ("open", "paid"), "due": (None, "2026-01-02")}
    session.flush()
    claim.status = "open"
    assert changes_by_path(claim) == {"due": (None, "2026-01-02")}
    session.commit()
    assert changes_by_path(claim) == {}


def test_a_value_that_was_never_loaded_is_read(session: Session, claim: Claim) -> None:
    """An expired object, a deferred column and a document that changes in place."""
    claim.status = "paid"
    claim.note = "y"
    assert changes_by_path(claim) == {"status": ("open", "paid"), "note": ("x", "y")}
    session.rollback()
    assert claim.doc is not None
    claim.doc["n"] = 2
    assert changes_by_path(claim)["doc"] == ({"n": 1}, {"n": 2})


def test_a_value_that_cannot_be_known_is_refused(session: Session, claim: Claim) -> None:
    """What a flush has replaced unread, or the next one will compute, is no guess."""
    claim.amount = Claim.amount + 1
    with pytest.raises(UntrackedChange, match=r"the database computes amount of Claim: call session\.flush"):
        changes_of(claim)
    session.flush()
    with pytest.raises(UntrackedChange, match="the value of amount before the change is not known"):
        changes_of(claim)
    session.rollback()
    assert claim.amount == Decimal(10)
    claim.amount = Claim.amount + 1
    session.flush()
    assert changes_by_path(claim) == {"amount": ("10.00", "11.00")}


def test_changes_of_a_deleted_object_are_its_values(session: Session, claim: Claim) -> None:
    """As the database had them, not as they were changed meanwhile; before the flush and after it."""
    claim.status = "renamed"
    session.delete(claim)
    assert changes_by_path(claim, fields=["status", "note"]) == {"status": ("open",), "note": ("x",)}
    with session.no_autoflush:
        assert session.get_one(Claim, 7, populate_existing=True)
    session.delete(claim)
    session.flush()
    assert changes_by_path(claim, fields=["status", "amount"]) == {"status": ("open",), "amount": ("10.00",)}


def test_a_savepoint_that_is_rolled_back_is_forgotten(session: Session, claim: Claim) -> None:
    """What was changed before it is still known, what was changed in it is not returned."""
    assert claim.status == "open"
    claim.status = "paid"
    session.flush()
    with session.begin_nested() as savepoint:
        claim.amount, claim.status = Decimal(11), "closed"
        session.flush()
        assert changes_by_path(claim)["status"] == ("open", "closed")
        savepoint.rollback()
    assert claim.amount == Decimal(10)
    assert changes_by_path(claim) == {"status": ("open", "paid")}
    with session.begin_nested():
        claim.amount = Decimal(12)
    assert changes_by_path(claim) == {"status": ("open", "paid"), "amount": ("10.00", "12")}
    session.rollback()
    assert changes_by_path(claim) == {}
    with session.begin_nested() as savepoint:
        claim.amount = Claim.amount + 1  # a value that was never loaded
        session.flush()
        session.delete(claim)
        session.flush()
        savepoint.rollback()
    assert changes_by_path(claim) == {}


def test_fields_and_mask_limit_the_changes(claim: Claim) -> None:
    """A masked value is returned without its content; a name that is wrong is an error."""
    assert claim.email
    claim.email, claim.status = "b@example.org", "paid"
    assert changes_by_path(claim, fields=["email"], mask=["email"]) == {"email": ("***", "***")}
    with pytest.raises(InvalidEvent, match="Claim has no column stauts; it has amount, doc"):
        changes_of(claim, fields=["stauts"])
    with pytest.raises(InvalidEvent, match="str is not an object of a mapped class"):
        changes_of("claim")


@pytest.mark.usefixtures("engine")
async def test_an_asynchronous_session_reads_nothing_by_itself(dsn: str) -> None:
    """What is loaded is returned; for the rest, the error says how to get it."""
    asynchronous = create_async_engine(url_of(dsn, "postgresql+asyncpg"))
    async with AsyncSession(asynchronous) as session:
        price = Price(product="tea", day=date(2026, 1, 2), price=Decimal(1))
        session.add(price)
        await session.commit()
        price.price = Decimal(2)
        with pytest.raises(UntrackedChange, match=r"await session\.run_sync"):
            changes_of(price)
        assert await session.run_sync(lambda _: changes_by_path(price)) == {"price": ("1", "2")}
    await asynchronous.dispose()
