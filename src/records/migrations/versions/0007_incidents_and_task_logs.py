"""What is known of a worker's death, and what tasks logged; an index for what failed.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant

revision = "0007"
down_revision = "0006"

FAILED = sa.text("state || '' = 'FAILURE'")


def upgrade() -> None:
    """Go forward."""
    op.add_column("workers", sa.Column("memory_mb", sa.Integer(), nullable=True))
    op.add_column("workers", sa.Column("exit_code", sa.Integer(), nullable=True))
    op.create_table(
        "incidents",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("worker_id", sa.String(length=36), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.String(length=16), nullable=True),
        sa.Column("memory_mb", sa.Integer(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "run"),
    )
    op.create_table(
        "task_logs",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("logger", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "run", "number"),
    )
    op.create_index("ix_task_logs_at", "task_logs", ["at"], unique=False)
    op.create_index(
        "ix_task_records_failed",
        "task_records",
        ["finished_at", "id"],
        unique=False,
        sqlite_where=FAILED,
        postgresql_where=FAILED,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_task_records_failed", "task_records")
    op.drop_table("task_logs")
    op.drop_table("incidents")
    op.drop_column("workers", "exit_code")
    op.drop_column("workers", "memory_mb")
