"""Operations for Alembic, so that capture and guard live with the tables in the application's migrations.

``import pgaudit.guard.alembic`` in ``env.py`` adds ``op.add_capture``, ``op.remove_capture``, ``op.add_guard`` and
``op.remove_guard``. They take what :func:`pgaudit.guard.captures.add` and :func:`pgaudit.guard.guards.add` take::

    def upgrade():
        op.add_capture("claims", target="claim", key="id", mask=("iban",))

    def downgrade():
        op.remove_capture("claims")

They run in the migration's transaction, as a role that owns schema and table; ``alembic upgrade --sql`` prints them.
"""

from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import renderers
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import text

from pgaudit.guard.statements import ADD, REMOVE


class TableOperation(MigrateOperation):
    """An operation on the capture or guard of a table.

    :param options: how it is added; when it is removed, what its reverse adds again.
    """

    purpose = ""
    adds = True

    def __init__(self, table: str, **options: Any) -> None:
        if self.adds:
            ADD[self.purpose](table, **options)  # raises TypeError for an option that does not exist
        self.table = table
        self.options = options

    @classmethod
    def run(cls, operations: Operations, table: str, **options: Any) -> None:
        """Runs the operation: what ``op`` calls."""
        operations.invoke(cls(table, **options))

    @property
    def statement(self) -> str:
        """The SQL of the operation."""
        return ADD[self.purpose](self.table, **self.options) if self.adds else REMOVE[self.purpose](self.table)

    @property
    def name(self) -> str:
        """Its name in ``op``."""
        return f"{'add' if self.adds else 'remove'}_{self.purpose}"

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.name, self.table, self.options)


@Operations.register_operation("add_capture", "run")
class AddCapture(TableOperation):
    """Captures a table."""

    purpose = "capture"

    def reverse(self) -> MigrateOperation:
        return RemoveCapture(self.table, **self.options)


@Operations.register_operation("remove_capture", "run")
class RemoveCapture(TableOperation):
    """Ends the capture of a table. Options are those with which its reverse adds it again."""

    purpose, adds = "capture", False

    def reverse(self) -> MigrateOperation:
        return AddCapture(self.table, **self.options)


@Operations.register_operation("add_guard", "run")
class AddGuard(TableOperation):
    """Guards a table."""

    purpose = "guard"

    def reverse(self) -> MigrateOperation:
        return RemoveGuard(self.table, **self.options)


@Operations.register_operation("remove_guard", "run")
class RemoveGuard(TableOperation):
    """Ends the guard of a table. Options are those with which its reverse adds it again."""

    purpose, adds = "guard", False

    def reverse(self) -> MigrateOperation:
        return AddGuard(self.table, **self.options)


def run(operations: Operations, operation: TableOperation) -> None:
    """Runs an operation, or prints its SQL as it is: SQLAlchemy would double its percent signs there."""
    context = operations.get_context()
    if context.as_sql:
        context.impl.static_output(operation.statement + context.impl.command_terminator)
    else:
        operations.execute(text(operation.statement.replace(":", r"\:")))  # a colon in SQL is no parameter


def render(_context: AutogenContext, operation: TableOperation) -> str:
    """Returns the line of a migration."""
    options = "".join(f", {name}={value!r}" for name, value in operation.options.items())
    return f"op.{operation.name}({operation.table!r}{options})"


for kind in (AddCapture, RemoveCapture, AddGuard, RemoveGuard):
    Operations.implementation_for(kind)(run)
    renderers.dispatch_for(kind)(render)
