"""When a recipient who was put off is tried again.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Go forward."""
    op.add_column("deliveries", sa.Column("next_attempt_at", sa.TIMESTAMP(timezone=True)))


def downgrade() -> None:
    """Go back."""
    op.drop_column("deliveries", "next_attempt_at")
