"""At most one rollout of a model is under way."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INDEX = "one_open_rollout_a_model"
OPEN = sa.text("state IN ('staged', 'shifting')")


def upgrade() -> None:
    op.create_index(INDEX, "rollouts", ["model"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN)


def downgrade() -> None:
    op.drop_index(INDEX, "rollouts")
