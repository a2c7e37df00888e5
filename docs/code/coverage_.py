"""Lists the tables that are neither captured nor guarded."""

from pgaudit.guard import coverage


def uncovered(conn: object) -> list[str]:
    """Returns the tables that are neither captured nor guarded."""
    return [table.name for table in coverage.report(conn).uncovered]
