"""Phone calls: what is wanted, the orders to a provider, what it told, and what keeps calls back.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json, PlainText

revision = "0023"
down_revision = "0022"

LIVE = "state IN ('sending', 'unknown', 'placed')"
DOUBTFUL = "state IN ('unknown', 'ambiguous')"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "calls",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("campaign_id", sa.String(length=255), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("to_number", sa.String(length=16), nullable=False),
        sa.Column("from_number", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", PlainText(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("answered_by", sa.String(length=32), nullable=True),
        sa.Column("heard", Json(), nullable=True),
        sa.Column("retry_of", sa.String(length=255), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_calls_campaign_id", "calls", ["campaign_id", "state", "next_attempt_at"], unique=False)
    op.create_index("ix_calls_ended_at", "calls", ["ended_at"], unique=False)
    op.create_index("ix_calls_position", "calls", ["campaign_id", "position"], unique=False)
    op.create_index("ix_calls_retry_of", "calls", ["retry_of"], unique=False)
    op.create_index("ix_calls_to_number", "calls", ["to_number"], unique=False)
    op.create_table(
        "call_attempts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("call_id", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.String(length=255), nullable=True),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("to_number", sa.String(length=16), nullable=False),
        sa.Column("from_number", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sending_at", Instant(), nullable=False),
        sa.Column("doubt_until", Instant(), nullable=False),
        sa.Column("look_at", Instant(), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("hang_up_at", Instant(), nullable=True),
        sa.Column("call_sid", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("answered_by", sa.String(length=32), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("sip_code", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Integer(), nullable=True),
        sa.Column("error", PlainText(), nullable=True),
        sa.Column("price", sa.String(length=32), nullable=True),
        sa.Column("price_unit", sa.String(length=8), nullable=True),
        sa.Column("queue_seconds", sa.Float(), nullable=True),
        sa.Column("placed_at", Instant(), nullable=True),
        sa.Column("ending_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("call_sid"),
        sa.UniqueConstraint("call_id", "number", name="uq_call_attempts_number"),
    )
    op.create_index("ix_call_attempts_campaign_id", "call_attempts", ["campaign_id", "sending_at"], unique=False)
    op.create_index("ix_call_attempts_to_number", "call_attempts", ["to_number", "sending_at"], unique=False)
    op.create_table(
        "call_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dedupe_key", sa.String(length=255), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("attempt_id", sa.String(length=32), nullable=True),
        sa.Column("call_sid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=True),
        sa.Column("raw", Json(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("why_not", PlainText(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
        sa.UniqueConstraint("token"),
    )
    op.create_index("ix_call_events_call_sid", "call_events", ["call_sid", "id"], unique=False)
    op.create_index("ix_call_events_received_at", "call_events", ["received_at"], unique=False)
    op.create_table(
        "call_gates",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("next_free_at", Instant(), nullable=False),
        sa.Column("text", PlainText(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "opt_outs",
        sa.Column("to_number", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("call_sid", sa.String(length=64), nullable=True),
        sa.Column("text", PlainText(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("to_number"),
    )
    _index_of_some("uq_call_attempts_live", ["account", "to_number"], LIVE, unique=True)
    _index_of_some("ix_call_attempts_live", ["campaign_id"], LIVE)
    _index_of_some("ix_call_attempts_look_at", ["look_at"], LIVE)
    _index_of_some("ix_call_attempts_doubt", ["sending_at"], DOUBTFUL)


def downgrade() -> None:
    """Go back."""
    for table in ("opt_outs", "call_gates", "call_events", "call_attempts", "calls"):
        op.drop_table(table)


def _index_of_some(name: str, columns: list[str], which: str, *, unique: bool = False) -> None:
    some = sa.text(which)
    op.create_index(name, "call_attempts", columns, unique=unique, sqlite_where=some, postgresql_where=some)
