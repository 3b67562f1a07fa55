"""The first schema.

Revision ID: 0001
Revises:
"""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from records.columns import Instant, Json

revision = "0001"
down_revision = None

TABLES = ("chord_parts", "chords", "deliveries", "identity", "leadership", "members", "task_records", "workers")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "chord_parts",
        sa.Column("group_id", sa.String(length=255), nullable=False),
        sa.Column("part_id", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.PrimaryKeyConstraint("group_id", "part_id"),
    )
    op.create_table(
        "chords",
        sa.Column("group_id", sa.String(length=255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("header", Json(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("fired_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("group_id"),
    )
    op.create_index("ix_chords_created_at", "chords", ["created_at"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(length=16), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("handed_at", Instant(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", "position", "address"),
    )
    op.create_index("ix_deliveries_address", "deliveries", ["address", "created_at"], unique=False)
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("database_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("renewed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "members",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("arguments", Json(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", Json(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", "position"),
    )
    op.create_table(
        "task_records",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("priority", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("relay_at", Instant(), nullable=True),
        sa.Column("published_at", Instant(), nullable=True),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("deadline_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("lost_runs", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=36), nullable=True),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("progress_text", sa.Text(), nullable=True),
        sa.Column("args", Json(), nullable=False),
        sa.Column("kwargs", Json(), nullable=False),
        sa.Column("message", Json(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_type", sa.String(length=255), nullable=True),
        sa.Column("error_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("is_parent", sa.Boolean(), nullable=False),
        sa.Column("members_total", sa.Integer(), nullable=True),
        sa.Column("parent_id", sa.String(length=255), nullable=True),
        sa.Column("root_id", sa.String(length=255), nullable=True),
        sa.Column("caller_id", sa.String(length=255), nullable=True),
        sa.Column("group_id", sa.String(length=255), nullable=True),
        sa.Column("retry_of", sa.String(length=255), nullable=True),
        sa.Column("retried_as", sa.String(length=255), nullable=True),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=True),
        sa.Column("tenant", sa.String(length=255), nullable=True),
        sa.Column("tags", Json(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_task_records_category", "task_records", ["category", "created_at"], unique=False)
    op.create_index("ix_task_records_created_at", "task_records", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_task_records_due_at",
        "task_records",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "ix_task_records_error_fingerprint",
        "task_records",
        ["error_fingerprint"],
        unique=False,
        sqlite_where=sa.text("error_fingerprint IS NOT NULL"),
        postgresql_where=sa.text("error_fingerprint IS NOT NULL"),
    )
    op.create_index("ix_task_records_finished_at", "task_records", ["finished_at"], unique=False)
    op.create_index(
        "ix_task_records_group_id",
        "task_records",
        ["group_id"],
        unique=False,
        sqlite_where=sa.text("group_id IS NOT NULL"),
        postgresql_where=sa.text("group_id IS NOT NULL"),
    )
    op.create_index("ix_task_records_name", "task_records", ["name", "created_at"], unique=False)
    op.create_index(
        "ix_task_records_parent_id",
        "task_records",
        ["parent_id"],
        unique=False,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_task_records_relay_at",
        "task_records",
        ["relay_at"],
        unique=False,
        sqlite_where=sa.text("relay_at IS NOT NULL"),
        postgresql_where=sa.text("relay_at IS NOT NULL"),
    )
    op.create_index("ix_task_records_state", "task_records", ["state", "created_at"], unique=False)
    op.create_index(
        "ix_task_records_worker_id",
        "task_records",
        ["worker_id"],
        unique=False,
        sqlite_where=sa.text("worker_id IS NOT NULL"),
        postgresql_where=sa.text("worker_id IS NOT NULL"),
    )
    op.create_index(
        "ux_task_records_idempotency_key",
        "task_records",
        [sa.text("coalesce(tenant, '')"), "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("parent_pid", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("stopped_at", Instant(), nullable=True),
        sa.Column("lost", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_workers_stopped_at", "workers", ["stopped_at", "seen_at"], unique=False)
    op.execute(sa.text("INSERT INTO identity (id, database_id) VALUES (1, :id)").bindparams(id=str(uuid4())))


def downgrade() -> None:
    """Go back."""
    for name in TABLES:
        op.drop_table(name)
