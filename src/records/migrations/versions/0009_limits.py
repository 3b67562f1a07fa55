"""Limits, pauses, and what is held until one of them lets it go.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0009"
down_revision = "0008"

COLUMNS = ("limit_keys", "hold", "held", "holds", "turn")
INDEXES = ("held", "lane", "released", "tenant")
TABLES = ("limit_starts", "limiters", "limits", "pauses")


def upgrade() -> None:
    """Go forward."""
    op.add_column("task_records", sa.Column("limit_keys", Json(), nullable=True))
    op.add_column("task_records", sa.Column("hold", sa.String(length=255), nullable=True))
    op.add_column("task_records", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("task_records", sa.Column("holds", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("task_records", sa.Column("turn", sa.Integer(), nullable=True))
    op.create_index(
        "ix_task_records_held",
        "task_records",
        ["hold", "priority", "turn", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("held = 1"),
        postgresql_where=sa.text("held"),
    )
    op.create_index(
        "ix_task_records_lane",
        "task_records",
        ["hold", "priority", "tenant", "turn"],
        unique=False,
        sqlite_where=sa.text("held = 1"),
        postgresql_where=sa.text("held"),
    )
    op.create_index(
        "ix_task_records_released",
        "task_records",
        ["hold"],
        unique=False,
        sqlite_where=sa.text("hold IS NOT NULL AND held = 0"),
        postgresql_where=sa.text("hold IS NOT NULL AND NOT held"),
    )
    op.create_index(
        "ix_task_records_tenant",
        "task_records",
        ["queue", "tenant", "due_at"],
        unique=False,
        sqlite_where=sa.text("tenant IS NOT NULL AND finished_at IS NULL AND held = 0"),
        postgresql_where=sa.text("tenant IS NOT NULL AND finished_at IS NULL AND NOT held"),
    )
    op.create_table(
        "limits",
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "pauses",
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("paused_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("queue"),
    )
    op.create_table(
        "limiters",
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "limit_starts",
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "number"),
    )


def downgrade() -> None:
    """Go back."""
    for name in TABLES:
        op.drop_table(name)
    for name in INDEXES:
        op.drop_index(f"ix_task_records_{name}", "task_records")
    for name in COLUMNS:
        op.drop_column("task_records", name)
