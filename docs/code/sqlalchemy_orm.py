"""SQLAlchemy's ORM: a class that is tracked, and an event of the application's own with the changes of an object."""

from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgaudit import AuditEvent, AuditLog
from pgaudit.sqlalchemy import changes_of, track

audit = AuditLog()


class Base(DeclarativeBase):
    """The application's base."""


class Claim(Base):
    """A claim."""

    __tablename__ = "claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]


def start() -> None:
    """Once in each process: web server, workers, scripts."""
    track(audit, Claim, target="claim")


def approve(session: Session, claim_id: int) -> None:
    """An event of the application's own, for a class that is not tracked."""
    claim = session.get_one(Claim, claim_id)
    claim.status = "approved"
    changes = changes_of(claim)
    audit.record(session, AuditEvent(action="claim.approved", target=f"claim:{claim_id}", changes=changes))
