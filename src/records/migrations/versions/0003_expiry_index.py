"""An index for what expires, and none for running tasks' workers: the few that run are found by their state.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

EXPIRES = sa.text("expires_at IS NOT NULL AND finished_at IS NULL")
RUNS = sa.text("worker_id IS NOT NULL")


def upgrade() -> None:
    """Go forward."""
    op.drop_index("ix_task_records_worker_id", "task_records")
    op.create_index(
        "ix_task_records_expires_at",
        "task_records",
        ["expires_at"],
        unique=False,
        sqlite_where=EXPIRES,
        postgresql_where=EXPIRES,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_task_records_expires_at", "task_records")
    op.create_index(
        "ix_task_records_worker_id",
        "task_records",
        ["worker_id"],
        unique=False,
        sqlite_where=RUNS,
        postgresql_where=RUNS,
    )
