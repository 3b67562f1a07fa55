"""Which task goes on in a process although it was given up.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Go forward."""
    op.add_column("workers", sa.Column("overrun", sa.String(255), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("workers", "overrun")
