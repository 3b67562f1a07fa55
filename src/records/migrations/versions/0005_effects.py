"""Effects, each a change in the outside world once, and an index for mails that are in doubt.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0005"
down_revision = "0004"

OPEN = sa.text("state <> 'done'")
DOUBTFUL = sa.text("state IN ('handing', 'unknown')")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "effects",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", Json(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("deadline_seconds", sa.Float(), nullable=False),
        sa.Column("intended_at", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_effects_task_id", "effects", ["task_id"], unique=False)
    op.create_index(
        "ix_effects_open",
        "effects",
        ["state", "intended_at"],
        unique=False,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index(
        "ix_deliveries_doubt",
        "deliveries",
        ["state", "handed_at"],
        unique=False,
        sqlite_where=DOUBTFUL,
        postgresql_where=DOUBTFUL,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_deliveries_doubt", "deliveries")
    op.drop_table("effects")
