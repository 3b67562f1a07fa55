"""What lists of tasks and searches in them find them by; a full database is listed in the background.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

ALWAYS = ("name", "category", "queue")
SELDOM = ("tenant", "parent", "worker", "error_type", "fingerprint")


def upgrade() -> None:
    """Go forward."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    postgresql = op.get_context().dialect.name == "postgresql"
    instant = sa.DateTime(timezone=True) if postgresql else sa.Text()
    op.create_table(
        "task_lists",
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("finished", number, nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ALWAYS),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in SELDOM),
    )
    op.create_index("uq_task_lists_id", "task_lists", ["id"], unique=True)
    for name in ALWAYS:
        op.create_index(f"ix_task_lists_{name}", "task_lists", [name, "state", "number"])
    for name in SELDOM:
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_task_lists_{name}",
            "task_lists",
            [name, "state", "number"],
            sqlite_where=there,
            postgresql_where=there,
        )
    long = sa.text("finished - (number >> 22) > 3600000")
    op.create_index("ix_task_lists_long", "task_lists", ["finished"], sqlite_where=long, postgresql_where=long)
    op.create_table(
        "task_list_tags",
        sa.Column("tag", sa.Integer(), primary_key=True),
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_task_list_tags_number", "task_list_tags", ["number"])
    op.create_table(
        "task_list_marks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("listed_to", instant, nullable=False),
        sa.Column("ended_to", instant, nullable=False),
        sa.Column("filled_from", instant, nullable=True),
    )
    op.create_table(
        "task_words_due",
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
    )
    if postgresql:
        op.execute("CREATE TABLE task_words (number bigint PRIMARY KEY, text text NOT NULL, words tsvector NOT NULL)")
        op.execute("CREATE INDEX ix_task_words_words ON task_words USING gin (words)")
    else:
        op.execute(
            "CREATE VIRTUAL TABLE task_words USING fts5"
            "(text, detail=none, columnsize=0, tokenize='unicode61 remove_diacritics 0')"
        )


def downgrade() -> None:
    """Go back."""
    op.execute("DROP TABLE task_words")
    for name in ("task_words_due", "task_list_marks", "task_list_tags", "task_lists"):
        op.drop_table(name)
