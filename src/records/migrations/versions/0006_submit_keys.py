"""Idempotency keys in a table of their own.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant

revision = "0006"
down_revision = "0005"

HAS_KEY = sa.text("idempotency_key IS NOT NULL")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "submit_keys",
        sa.Column("tenant", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_index("ix_submit_keys_expires_at", "submit_keys", ["expires_at"], unique=False)
    op.drop_index("ux_task_records_idempotency_key", "task_records")


def downgrade() -> None:
    """Go back."""
    op.create_index(
        "ux_task_records_idempotency_key",
        "task_records",
        [sa.text("coalesce(tenant, '')"), "idempotency_key"],
        unique=True,
        sqlite_where=HAS_KEY,
        postgresql_where=HAS_KEY,
    )
    op.drop_table("submit_keys")
