"""What waited in each minute, and for how long, for the overview; of minutes before this nobody knows.

Revision ID: 0036
Revises: 0035
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Go forward."""
    op.add_column("task_minutes", sa.Column("depth", sa.Integer(), nullable=True))
    op.add_column("task_minutes", sa.Column("oldest_age_seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("task_minutes", "oldest_age_seconds")
    op.drop_column("task_minutes", "depth")
