"""Batches, drift reports, decisions, gate verdicts and rollouts."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def time(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length) if length else sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer, primary_key=True),
        text("model", 100),
        time("interval_start"),
        time("interval_end"),
        text("key", 500),
        text("digest", 64),
        sa.Column("rows", sa.Integer, nullable=False),
        text("verdict", 20),
        text("reason"),
        time("recorded_at"),
        sa.UniqueConstraint("model", "interval_start", "digest", name="one_row_a_batch"),
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer, primary_key=True),
        text("model", 100),
        time("window_start"),
        time("window_end"),
        text("key", 500),
        sa.Column("summary", sa.JSON, nullable=False),
        time("recorded_at"),
        sa.UniqueConstraint("model", "key", name="one_row_a_report"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True),
        text("model", 100),
        text("trigger", 500),
        text("action", 20),
        text("reason"),
        sa.Column("evidence", sa.JSON, nullable=False),
        time("event_time"),
        time("recorded_at"),
        sa.UniqueConstraint("model", "trigger", name="one_decision_a_trigger"),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer, primary_key=True),
        text("model", 100),
        sa.Column("version", sa.Integer, nullable=False),
        text("verdict", 20),
        text("reason"),
        sa.Column("judgements", sa.JSON, nullable=False),
        time("recorded_at"),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer, primary_key=True),
        text("model", 100),
        sa.Column("candidate", sa.Integer, nullable=False),
        sa.Column("champion", sa.Integer),
        text("state", 20),
        sa.Column("weight", sa.Integer, nullable=False),
        time("started_at"),
        time("updated_at"),
    )
    op.create_table(
        "rollout_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), nullable=False),
        text("state", 20),
        sa.Column("weight", sa.Integer, nullable=False),
        text("reason"),
        sa.Column("evidence", sa.JSON, nullable=False),
        time("recorded_at"),
    )


def downgrade() -> None:
    for table in ("rollout_events", "rollouts", "verdicts", "decisions", "reports", "batches"):
        op.drop_table(table)
