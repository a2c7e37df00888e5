"""The database that a test is given."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from pgaudit.settings import Settings


@dataclass(frozen=True, slots=True)
class AuditDatabase:
    """A database of the test's own: where it is, and the settings of an AuditLog or worker that uses it."""

    dsn: str
    settings: Settings

    def url(self, scheme: str = "postgresql") -> str:
        """Returns the DSN as a URL, for asyncpg and SQLAlchemy.

        >>> create_engine(audit_database.url("postgresql+psycopg"))
        """
        return url_of(self.dsn, scheme)


def url_of(dsn: str, scheme: str = "postgresql") -> str:
    """Returns a libpq string as a URL. All but the database is in its query: a host may be a socket's directory."""
    parameters = {name: value for name, value in conninfo_to_dict(dsn).items() if value is not None}
    database = quote(str(parameters.pop("dbname", "")), safe="")
    return f"{scheme}:///{database}?{urlencode(parameters)}"
