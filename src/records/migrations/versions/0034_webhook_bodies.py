"""Bodies of webhooks that were not taken at once.

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

from records.columns import PlainText

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "webhook_bodies",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("body", PlainText(), nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("webhook_bodies")
