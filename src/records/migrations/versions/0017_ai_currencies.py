"""The currency of what each call to an AI provider has cost.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Go forward."""
    op.add_column("ai_calls", sa.Column("currency", sa.String(length=3), nullable=False, server_default="USD"))


def downgrade() -> None:
    """Go back."""
    op.drop_column("ai_calls", "currency")
