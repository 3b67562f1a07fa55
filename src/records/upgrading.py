"""Runs the migrations; apart from `records.schema`, so that who only checks the version does not load Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError

from processors.errors import ConfigurationError, ServiceUnavailable
from records.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
PAUSE_SECONDS = 60
"""How long PostgreSQL lets an upgrade think between two statements: migrations are loaded there, on a busy machine."""


def upgrade(database: Database, version: str) -> None:
    """Bring the schema to this version.

    Raises:
        ConfigurationError: the schema is none that the migrations know.
        ServiceUnavailable: it cannot be written.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with database.using(), database.engine().connect() as connection:
            if not database.is_sqlite:
                connection.detach()  # so that nobody else is given it later
                connection.exec_driver_sql(f"SET idle_in_transaction_session_timeout = '{PAUSE_SECONDS}s'")
                connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, version)
    except CommandError as error:
        raise ConfigurationError(
            f"The schema of {database.shown} cannot be brought to version {version}: {error}; is it this service's?"
        ) from error
    except DBAPIError as error:
        cause = " ".join(str(error.orig).split())
        raise ServiceUnavailable(
            f"The schema of {database.shown} cannot be written: {cause}; check its disk."
        ) from error
