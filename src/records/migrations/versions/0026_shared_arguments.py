"""What a member has in common with its parent's first one is kept there only.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

from records.columns import Json

revision = "0026"
down_revision = "0025"

PAGE_ROWS = 1_000


def upgrade() -> None:
    """Go forward."""
    op.add_column("members", sa.Column("as_first", Json(), nullable=True))


def downgrade() -> None:
    """Go back; each member has all its arguments again."""
    texts = (sa.column(name, Json()) for name in ("arguments", "as_first"))
    members = sa.table("members", sa.column("task_id"), sa.column("position"), *texts)
    c, first = members.c, members.alias("first")
    beside = sa.and_(first.c.task_id == c.task_id, first.c.position == 0)
    page = sa.select(c.task_id, c.position, c.arguments, c.as_first, first.c.arguments.label("of_first"))
    page = page.join(first, beside).where(c.as_first.is_not(None)).limit(PAGE_ROWS)
    while rows := op.get_bind().execute(page).all():
        for row in rows:
            arguments = row.arguments | {name: row.of_first[name] for name in row.as_first}
            own = sa.and_(c.task_id == row.task_id, c.position == row.position)
            op.get_bind().execute(sa.update(members).where(own).values(arguments=arguments, as_first=None))
    op.drop_column("members", "as_first")
