"""Ways out for mail that were asked to wait.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, PlainText

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "mail_rests",
        sa.Column("transport", sa.String(length=300), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("not_before", Instant(), nullable=False),
        sa.Column("reason", PlainText(), nullable=False),
        sa.PrimaryKeyConstraint("transport", "domain"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("mail_rests")
