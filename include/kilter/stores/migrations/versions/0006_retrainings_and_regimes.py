"""Retrainings under way, regimes of former champions, and what a decision leads to."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

INDEX = "one_open_retraining_a_model"
OPEN = sa.text("ended_at IS NULL")
DECISION = {"version": sa.Integer, "scope": sa.JSON, "alert": sa.Boolean, "retraining": sa.Integer}
ROLLOUT = {"decision": sa.Integer, "fast": sa.Boolean}


def upgrade() -> None:
    op.create_table("deciders", sa.Column("model", sa.String(100), primary_key=True))
    op.create_table(
        "retrainings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("begun_by", sa.String(500), nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text),
        sa.UniqueConstraint("model", "begun_by", name="one_retraining_a_cause"),
    )
    op.create_index(INDEX, "retrainings", ["model"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_table(
        "regimes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("regime", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "version", name="one_regime_a_version"),
    )
    for table, columns in (("decisions", DECISION), ("rollouts", ROLLOUT)):
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind))


def downgrade() -> None:
    for table, columns in (("decisions", DECISION), ("rollouts", ROLLOUT)):
        for name in columns:
            op.drop_column(table, name)
    op.drop_table("regimes")
    op.drop_index(INDEX, "retrainings")
    op.drop_table("retrainings")
    op.drop_table("deciders")
