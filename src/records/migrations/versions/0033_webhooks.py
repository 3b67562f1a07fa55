"""Endpoints of webhooks.

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("url", PlainText(), nullable=False),
        sa.Column("secret", PlainText(), nullable=False),
        sa.Column("states", Json(), nullable=False),
        sa.Column("category", PlainText(), nullable=True),
        sa.Column("name", PlainText(), nullable=True),
        sa.Column("tenant", PlainText(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("disabled_at", Instant(), nullable=True),
        sa.Column("disabled_why", PlainText(), nullable=True),
        sa.Column("seen_to", Instant(), nullable=False),
        sa.Column("failing_since", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("webhook_endpoints")
