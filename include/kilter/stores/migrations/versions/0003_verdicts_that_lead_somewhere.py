"""What a gate verdict leads to and what it was reached on; a person's approvals."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INDEX = "one_verdict_a_holdout"


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("action", sa.String(20)))
    op.add_column("verdicts", sa.Column("holdout", sa.String(500)))
    for name in ("evaluation_start", "evaluation_end", "as_of"):
        op.add_column("verdicts", sa.Column(name, sa.DateTime(timezone=True)))
    op.create_index(INDEX, "verdicts", ["model", "version", "holdout"], unique=True)
    op.create_table(
        "approvals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("holdout", sa.String(500), nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("person", sa.String(500), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "version", "holdout", "answered_at", name="one_row_an_answer"),
    )


def downgrade() -> None:
    op.drop_table("approvals")
    op.drop_index(INDEX, "verdicts")
    for name in ("as_of", "evaluation_end", "evaluation_start", "holdout", "action"):
        op.drop_column("verdicts", name)
