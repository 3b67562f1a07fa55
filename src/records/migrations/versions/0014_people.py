"""People who were enrolled to be known again in pictures.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "people",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("consent", PlainText(), nullable=False),
        sa.Column("consent_at", Instant(), nullable=False),
        sa.Column("encodings", Json(), nullable=False),
        sa.Column("encodings_count", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("people")
