"""Rows that PostgreSQL does not take for wider than a page: it would plan a table that is new as an empty one.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

NAMES = (
    "worker",
    "error_type",
    "parent_id",
    "root_id",
    "caller_id",
    "group_id",
    "retry_of",
    "retried_as",
    "origin",
    "tenant",
    "idempotency_key",
    "hold",
)


def upgrade() -> None:
    """Go forward; nothing is rewritten: a text is stored as a limited one is. SQLite has one kind of text."""
    if op.get_context().dialect.name == "postgresql":
        _change(sa.Text())


def downgrade() -> None:
    """Go back."""
    if op.get_context().dialect.name == "postgresql":
        _change(sa.String(255))


def _change(kind: sa.types.TypeEngine[str]) -> None:
    for name in NAMES:
        op.alter_column("task_records", name, type_=kind)
