"""Alembic's entry: runs the revisions on the connection that pgaudit.migrate opened, or prints them."""

from typing import Any

from alembic import context

from pgaudit import migrate

options: dict[str, Any] = {
    "version_table": "alembic_version",
    "version_table_schema": "pgaudit",
    "transaction_per_migration": True,  # the first revision commits file by file
}
connection = context.config.attributes.get("connection")

if connection is None:
    context.configure(dialect_name="postgresql", **options)
    context.get_context().impl.static_output("\\set ON_ERROR_STOP on")  # psql would go on after an error
    context.get_context().impl.static_output(f"{migrate.LOCK};")  # held until psql ends
    # Alembic's own table lives in the schema, so the schema comes before the first revision.
    context.get_context().impl.static_output(migrate.schema_script())
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()
