"""What there is so far of the text that a task's result will have.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

from records.columns import PlainText

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Go forward."""
    op.add_column("task_records", sa.Column("partial_text", PlainText(), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("task_records", "partial_text")
