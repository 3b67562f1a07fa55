"""Views of the task list that people of the dashboard have saved, each their own."""

from sqlalchemy import Column, Connection, String, Table, delete, func, select

from records.columns import Instant, Now, PlainText, metadata
from records.database import Database
from records.insertion import insert_into

MOST = 50
"""Views of one user."""

saved_views = Table(
    "saved_views",
    metadata,
    Column("owner", String(100), primary_key=True),  # a user's name, which never changes
    Column("name", String(100), primary_key=True),
    Column("query", PlainText, nullable=False),  # of the list's address
    Column("created_at", Instant, nullable=False),
)
columns = saved_views.c


class SavedViews:
    """Keeps views."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of(self, owner: str) -> dict[str, str]:
        """Return what somebody's views ask for, by name."""
        query = select(columns.name, columns.query).where(columns.owner == owner).order_by(columns.name)
        return {row.name: row.query for row in self.database.read(lambda c: c.execute(query).all())}

    def save(self, owner: str, name: str, query: str) -> bool:
        """Keep a view, instead of the one with its name; False where there are `MOST` others."""
        mine = columns.owner == owner
        others = select(func.count()).select_from(saved_views).where(mine, columns.name != name)
        given = insert_into(saved_views, self.database.kind).values(
            owner=owner, name=name, query=query, created_at=Now()
        )
        kept = given.on_conflict_do_update(index_elements=["owner", "name"], set_={"query": query})

        def work(connection: Connection) -> bool:
            if connection.execute(others).scalar_one() >= MOST:
                return False
            connection.execute(kept)
            return True

        return self.database.write(work)

    def remove(self, owner: str, name: str) -> bool:
        """Remove a view; False where there is none."""
        gone = delete(saved_views).where(columns.owner == owner, columns.name == name).returning(columns.name)
        return self.database.write(lambda c: c.execute(gone).first() is not None)
