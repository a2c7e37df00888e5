"""The database that a test is given."""

from dataclasses import dataclass

from pgaudit.settings import Settings


@dataclass(frozen=True, slots=True)
class AuditDatabase:
    """A database of the test's own: where it is, and the settings of an AuditLog or worker that uses it."""

    dsn: str
    settings: Settings
