"""The last orders of an account, for its pace.

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Go forward."""
    op.create_index("ix_call_attempts_account", "call_attempts", ["account", "sending_at"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_call_attempts_account", "call_attempts")
