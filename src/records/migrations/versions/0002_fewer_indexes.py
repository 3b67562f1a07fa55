"""Fewer indexes: none that no query needs, and none that holds what is not there yet.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

FINISHED = sa.text("finished_at IS NOT NULL")


def upgrade() -> None:
    """Go forward."""
    op.drop_index("ix_task_records_category", "task_records")
    op.drop_index("ix_task_records_name", "task_records")
    op.drop_index("ix_task_records_due_at", "task_records")
    op.drop_index("ix_task_records_finished_at", "task_records")
    op.create_index(
        "ix_task_records_finished_at",
        "task_records",
        ["finished_at"],
        unique=False,
        sqlite_where=FINISHED,
        postgresql_where=FINISHED,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_task_records_finished_at", "task_records")
    op.create_index("ix_task_records_finished_at", "task_records", ["finished_at"], unique=False)
    op.create_index(
        "ix_task_records_due_at",
        "task_records",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("ix_task_records_name", "task_records", ["name", "created_at"], unique=False)
    op.create_index("ix_task_records_category", "task_records", ["category", "created_at"], unique=False)
