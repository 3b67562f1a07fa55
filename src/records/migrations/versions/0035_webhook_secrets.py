"""The secret that an endpoint of webhooks had before, which signs for a while, too.

Revision ID: 0035
Revises: 0034
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, PlainText

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Go forward."""
    op.add_column("webhook_endpoints", sa.Column("old_secret", PlainText(), nullable=True))
    op.add_column("webhook_endpoints", sa.Column("old_until", Instant(), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("webhook_endpoints", "old_until")
    op.drop_column("webhook_endpoints", "old_secret")
