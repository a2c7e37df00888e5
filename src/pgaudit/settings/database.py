"""Settings of the database: where it is."""

from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, Field, field_serializer, model_validator

from pgaudit import embedded
from pgaudit._environment import variable_of
from pgaudit._secrets import without_secrets


class DatabaseSettings(BaseModel, frozen=True, defer_build=True):
    """Where the database is."""

    dsn: str = Field(
        "",
        repr=False,
        description="libpq string or URL of the database; `embedded:PATH` starts a server of its own; "
        "`pgaudit.embedded.conninfo(dsn)` says where, for psycopg and psql. "
        "Empty: libpq's `PG*` variables apply.",
    )

    @model_validator(mode="after")
    def _check_dsn(self) -> Self:
        if self.dsn.strip() == embedded.PREFIX:
            raise ValueError(embedded.MISSING_DIRECTORY)
        if not (self.dsn.startswith(embedded.PREFIX) or is_conninfo(self.dsn)):
            raise ValueError(
                f"{variable_of('dsn')} is not a libpq string or URL "
                "(a SQLAlchemy URL goes without +asyncpg or +psycopg: postgresql://user@host/database)"
            )
        return self

    @field_serializer("dsn")
    def _mask_dsn(self, dsn: str) -> str:
        return without_secrets(dsn)


def is_conninfo(dsn: str) -> bool:
    """Returns whether libpq can parse it. The error of libpq is not shown: it may quote the password."""
    try:
        conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        return False
    return True
