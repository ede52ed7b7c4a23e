"""Searches for a model's parameters, and decisions that ask for one."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("study", sa.String(200), nullable=False),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("trainer", sa.String(100), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("loss", sa.Float, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "study", name="one_row_a_study"),
    )
    op.add_column("decisions", sa.Column("tune", sa.Boolean))


def downgrade() -> None:
    op.drop_column("decisions", "tune")
    op.drop_table("searches")
