"""Mapped classes: claims with a column of each kind, people in a joined hierarchy, tags in a many-to-many relation."""

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ForeignKey, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The base of all classes."""


class Kind(enum.Enum):
    """Kinds of claims."""

    FIRE = "fire"
    WATER = "water"


claim_tags = Table(
    "claim_tags",
    Base.metadata,
    Column("claim_id", ForeignKey("claims.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Tag(Base):
    """What claims are labelled with."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    claims: Mapped[list["Claim"]] = relationship(secondary=claim_tags, back_populates="tags")


class Holder(Base):
    """Who has claims."""

    __tablename__ = "holders"
    id: Mapped[int] = mapped_column(primary_key=True)
    claims: Mapped[list["Claim"]] = relationship(back_populates="holder")


class Claim(Base):
    """A claim, with values of many types."""

    __tablename__ = "claims"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(server_default="open")
    amount: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    email: Mapped[str | None]
    due: Mapped[date | None]
    noted: Mapped[datetime | None]  # without a time zone
    reference: Mapped[UUID | None]
    kind: Mapped[Kind | None]
    doc: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSONB))
    labels: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    scan: Mapped[bytes | None]
    note: Mapped[str | None] = mapped_column("remark", deferred=True)
    updates: Mapped[int] = mapped_column(server_default="0", onupdate=text("claims.updates + 1"))
    holder_id: Mapped[int | None] = mapped_column(ForeignKey("holders.id"))
    holder: Mapped[Holder | None] = relationship(back_populates="claims")
    tags: Mapped[list[Tag]] = relationship(secondary=claim_tags, back_populates="claims")


class Person(Base):
    """The root of a joined hierarchy."""

    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__: dict[str, Any] = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012 - as SQLAlchemy has it


class Clerk(Person):
    """A person, with a row in a second table."""

    __tablename__ = "clerks"
    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    desk: Mapped[str]
    __mapper_args__: dict[str, Any] = {"polymorphic_identity": "clerk"}  # noqa: RUF012 - likewise


class Price(Base):
    """A row with a key of two columns."""

    __tablename__ = "prices"
    product: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    terms: Mapped[Any | None] = mapped_column(JSONB)


class Team(Base):
    """Has members, one of whom leads it."""

    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("members.id", use_alter=True))
    members: Mapped[list["Member"]] = relationship(foreign_keys="Member.team_id", cascade="all, delete-orphan")
    lead: Mapped["Member | None"] = relationship(foreign_keys=lead_id, post_update=True)


class Member(Base):
    """Belongs to a team."""

    __tablename__ = "members"
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))
    club_id: Mapped[int | None] = mapped_column(ForeignKey("clubs.id"))


class Club(Base):
    """Has members, whose rows it changes by statements of their own."""

    __tablename__ = "clubs"
    id: Mapped[int] = mapped_column(primary_key=True)
    members: Mapped[list[Member]] = relationship(post_update=True)
