"""Pauses of parents, and what counts their members and finds their open tasks without reading all of them.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, PlainText

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "task_pauses",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("why", PlainText(), nullable=True),
        sa.Column("paused_at", Instant(), nullable=False),
        sa.Column("resumed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index("ix_members_task_id", "members", ["task_id", "closed_at", "state"], unique=False)
    _index_of_parts(["parent_id", "finished_at"])
    waits = sa.text("next_attempt_at IS NOT NULL")
    op.create_index(
        "ix_deliveries_put_off", "deliveries", ["task_id"], unique=False, sqlite_where=waits, postgresql_where=waits
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_deliveries_put_off", "deliveries")
    _index_of_parts(["parent_id"])
    op.drop_index("ix_members_task_id", "members")
    op.drop_table("task_pauses")


def _index_of_parts(columns: list[str]) -> None:
    of_parts = sa.text("parent_id IS NOT NULL")
    op.drop_index("ix_task_records_parent_id", "task_records")
    op.create_index(
        "ix_task_records_parent_id",
        "task_records",
        columns,
        unique=False,
        sqlite_where=of_parts,
        postgresql_where=of_parts,
    )
