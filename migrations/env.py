"""Alembic's entry: runs the revisions on the connection that pgaudit.migrate opened, or prints them."""

from alembic import context

options = {"version_table": "alembic_version", "version_table_schema": "pgaudit"}
connection = context.config.attributes.get("connection")

if connection is None:
    context.configure(dialect_name="postgresql", **options)
    with context.begin_transaction():
        # Alembic's own table lives in the schema, so the schema comes before the first revision.
        context.execute("CREATE SCHEMA IF NOT EXISTS pgaudit")
        context.run_migrations()
else:
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()
