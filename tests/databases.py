"""Databases for tests: SQLite always, PostgreSQL from its binaries where they are installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql import PostgresqlServer
from records import schema, upgrading
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
