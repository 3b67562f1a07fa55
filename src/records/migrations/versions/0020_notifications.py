"""Contacts, the inbox, and what gathers for digests.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "contacts",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("contact", Json(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("type", PlainText(), nullable=False),
        sa.Column("title", PlainText(), nullable=False),
        sa.Column("body", PlainText(), nullable=False),
        sa.Column("url", PlainText(), nullable=True),
        sa.Column("dedupe_key", sa.String(length=255), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=True),
        sa.Column("read_at", Instant(), nullable=True),
        sa.Column("archived_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
        sqlite_autoincrement=True,  # a page goes on from an id, which must not be given out again
    )
    op.create_index("ix_inbox_user_id", "inbox", ["user_id", "id"], unique=False)
    op.create_index("ix_inbox_created_at", "inbox", ["created_at"], unique=False)
    op.create_table(
        "digests",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_table(
        "digest_entries",
        sa.Column("key", sa.String(length=36), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", PlainText(), nullable=False),
        sa.Column("message", PlainText(), nullable=False),
        sa.Column("url", PlainText(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_digest_entries_task_id", "digest_entries", ["task_id", "number"], unique=False)


def downgrade() -> None:
    """Go back."""
    for table in ("digest_entries", "digests", "inbox", "contacts"):
        op.drop_table(table)
