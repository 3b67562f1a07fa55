"""Keys of the API, and who did what.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", PlainText(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("tenant", PlainText(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor", PlainText(), nullable=False),
        sa.Column("act", sa.String(length=64), nullable=False),
        sa.Column("target_kind", sa.String(length=32), nullable=True),
        sa.Column("target_id", PlainText(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("details", Json(), nullable=True),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_at", "audit", ["at", "id"])
    op.create_index("ix_audit_actor", "audit", ["actor", "at", "id"])
    op.create_index("ix_audit_act", "audit", ["act", "at", "id"])
    op.create_index("ix_audit_target", "audit", ["target_kind", "target_id", "at", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("audit")
    op.drop_table("api_keys")
