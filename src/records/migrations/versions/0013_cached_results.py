"""What was found in files, for whoever gives the same file again.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "cached_results",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("result", Json(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_cached_results_task_id", "cached_results", ["task_id"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("cached_results")
