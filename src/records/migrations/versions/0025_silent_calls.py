"""Why whoever answered a call was told nothing.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Go forward."""
    op.add_column("call_attempts", sa.Column("unsaid", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("call_attempts", "unsaid")
