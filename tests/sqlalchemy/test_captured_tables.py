"""track, where triggers capture the table, too: each change is recorded once."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from pgaudit import AuditLog, Mode, OnFailure, Settings
from pgaudit.sqlalchemy import track
from tests.sqlalchemy.conftest import Recorded, actions, capture, sides
from tests.sqlalchemy.models import Claim, Clerk, Person, Price


def test_with_capture_a_change_is_recorded_once(session: Session, recorded: Recorded, dsn: str) -> None:
    """The trigger records it; while the capture is paused, the flush does."""
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
