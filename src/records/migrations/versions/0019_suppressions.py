"""Who is not mailed, hard bounces that were seen once, and what was told of mails after they had gone out.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, PlainText

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Go forward."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "suppressions",
        sa.Column("id", number, nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("text", PlainText(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("address", "scope", "reason", name="uq_suppressions_address"),
    )
    op.create_table(
        "hard_bounces",
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("mail_id", sa.String(length=998), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("address"),
    )
    op.create_index("ix_hard_bounces_at", "hard_bounces", ["at"], unique=False)
    op.create_table(
        "email_events",
        sa.Column("id", number, nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(length=16), nullable=True),
        sa.Column("text", PlainText(), nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=True),
        sa.Column("task_id", sa.String(length=255), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("token", sa.String(length=255), nullable=True),
        sa.Column("received_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "event_id", "address", name="uq_email_events_event"),
        sa.UniqueConstraint("provider", "token", name="uq_email_events_token"),
    )
    op.create_index("ix_email_events_address", "email_events", ["address"], unique=False)
    op.create_index("ix_email_events_message_id", "email_events", ["message_id"], unique=False)
    op.create_index("ix_email_events_received_at", "email_events", ["received_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("email_events")
    op.drop_table("hard_bounces")
    op.drop_table("suppressions")
