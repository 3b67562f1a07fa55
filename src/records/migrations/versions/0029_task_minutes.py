"""What came and ended in each minute, for the overview.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "task_minutes",
        sa.Column("minute", Instant(), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("waits", Json(), nullable=False),
        sa.Column("runs", Json(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "queue"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("task_minutes")
