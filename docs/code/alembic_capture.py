"""A migration of the application: ``env.py`` has ``import pgaudit.guard.alembic``."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0007", None


def upgrade() -> None:
    """Creates the table of claims, captured and guarded."""
    op.create_table("claims", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("iban", sa.Text))
    op.add_capture("claims", target="claim", key="id", mask="iban")
    op.add_guard("claims", target="claim", key="id", on_missing="warn", actions={"delete": "claim.deleted"})


def downgrade() -> None:
    """Ends both before the table goes."""
    op.remove_guard("claims")
    op.remove_capture("claims")
    op.drop_table("claims")
