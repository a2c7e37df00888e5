"""${message}"""

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades or 'raise NotImplementedError'}


def downgrade() -> None:
    ${downgrades or 'raise NotImplementedError'}
