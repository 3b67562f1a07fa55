"""Views of the task list that people have saved.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, PlainText

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "saved_views",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("query", PlainText(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "name"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("saved_views")
