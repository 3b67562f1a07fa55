"""Schedules.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("kwargs", Json(), nullable=False),
        sa.Column("args", Json(), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=True),
        sa.Column("crontab", sa.Text(), nullable=True),
        sa.Column("every_seconds", sa.Float(), nullable=True),
        sa.Column("timezone", sa.String(length=255), nullable=False),
        sa.Column("catch_up", sa.String(length=8), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("anchor_at", Instant(), nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.Column("last_fire_at", Instant(), nullable=True),
        sa.Column("last_task_id", sa.String(length=255), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_schedules_next_at", "schedules", ["paused", "next_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("schedules")
