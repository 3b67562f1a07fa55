"""Calls to AI providers, how their accounts stand, and the answers.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "ai_calls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("provider", PlainText(), nullable=False),
        sa.Column("model", PlainText(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("tenant", PlainText(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,  # a late answer must not meet another call under its number
    )
    op.create_index("ix_ai_calls_window", "ai_calls", ["account", "at", "state", "tokens"], unique=False)
    op.create_index("ix_ai_calls_state", "ai_calls", ["account", "state", "at"], unique=False)
    op.create_index("ix_ai_calls_task_id", "ai_calls", ["task_id"], unique=False)
    op.create_index("ix_ai_calls_at", "ai_calls", ["at"], unique=False)
    op.create_table(
        "ai_accounts",
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(length=32), nullable=True),
        sa.Column("text", PlainText(), nullable=True),
        sa.Column("paused_until", Instant(), nullable=True),
        sa.Column("trial_id", sa.BigInteger(), nullable=True),
        sa.Column("trial_until", Instant(), nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("usual_seconds", sa.Float(), nullable=False),
        sa.Column("spent", sa.Float(), nullable=False),
        sa.Column("spent_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "ai_answers",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("answer", Json(), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_ai_answers_task_id", "ai_answers", ["task_id"], unique=False)
    op.create_index("ix_ai_answers_at", "ai_answers", ["at"], unique=False)


def downgrade() -> None:
    """Go back."""
    for table in ("ai_answers", "ai_accounts", "ai_calls"):
        op.drop_table(table)
