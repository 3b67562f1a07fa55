"""An index for chords whose body was not published: a sweeper looks for them.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Go forward."""
    op.create_index("ix_chords_fired_at", "chords", ["fired_at", "created_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_chords_fired_at", "chords")
