"""Databases for tests: SQLite always, PostgreSQL from its binaries where they are installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, inspect

from postgresql import PostgresqlServer
from records import schema, upgrading
from records.columns import metadata
from records.database import Database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.fresh_database()
    yield url
    server.drop(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty record database; each test runs on SQLite and on PostgreSQL."""
    database = Database(database_url)
    upgrading.upgrade(database, schema.VERSION)
    yield database
    database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A record database of all tests of a module, on SQLite and on PostgreSQL; see `emptied_database`."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}"
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        url = server.fresh_database()
    database = Database(url)
    upgrading.upgrade(database, schema.VERSION)
    yield database
    database.close()
    if request.param == "postgresql":
        server.drop(url)


@pytest.fixture
def emptied_database(shared_database: Database) -> Database:
    """A record database without a row, which costs less than a new one."""
    tables = [
        table for table in reversed(metadata.sorted_tables) if inspect(shared_database.engine()).has_table(table.name)
    ]
    shared_database.write(lambda c: [c.execute(delete(table)) for table in tables])
    return shared_database
