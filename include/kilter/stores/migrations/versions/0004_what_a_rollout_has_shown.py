"""What a rollout has shown so far, so that whoever restarts goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("evidence", sa.JSON))


def downgrade() -> None:
    op.drop_column("rollouts", "evidence")
