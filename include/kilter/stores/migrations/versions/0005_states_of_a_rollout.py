"""A rollout in the shadow or held is under way too. Those promoted before there was a watch count as settled."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INDEX = "one_open_rollout_a_model"
BEFORE = sa.text("state IN ('staged', 'shifting')")
OPEN = sa.text("state IN ('staged', 'shadow', 'shifting', 'held', 'promoting', 'rolling_back', 'giving_back')")


def upgrade() -> None:
    _index(OPEN)
    op.execute("UPDATE rollouts SET state = 'settled' WHERE state = 'promoted'")


def downgrade() -> None:
    op.execute("UPDATE rollouts SET state = 'promoted' WHERE state = 'settled'")
    op.execute("UPDATE rollouts SET state = 'promoted' WHERE state = 'giving_back'")
    op.execute("UPDATE rollouts SET state = 'staged' WHERE state IN ('shadow', 'held', 'promoting', 'rolling_back')")
    _index(BEFORE)


def _index(states: sa.TextClause) -> None:
    op.drop_index(INDEX, "rollouts")
    op.create_index(INDEX, "rollouts", ["model"], unique=True, sqlite_where=states, postgresql_where=states)
