"""What our workers do otherwise than Celery's when they take messages."""

import sys
from typing import Any, cast

from celery.exceptions import WorkerShutdown

from broker.allegiance import swear
from broker.quick_consumer import QuickConsumer
from config.log_setup import get_logger
from processors.errors import ConfigurationError, ServiceUnavailable
from services.wiring import parts

logger = get_logger()


class ServiceConsumer(QuickConsumer):
    """A consumer that drops nothing, and works for no other database's broker."""

    def connect(self) -> Any:
        """Connect; a server that belongs to another database, put in the place of ours, ends the worker."""
        connection = cast("Any", super()).connect()
        try:
            swear(connection, parts().database_id)
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            raise WorkerShutdown(1) from error
        return connection

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Put a message aside whose body cannot be read."""
        logger.error("undecodable_message", error=str(exc), task=message.headers.get("task"))
        message.reject()

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Put a task aside that nobody here knows, also while the database does not take that its record failed."""
        try:
            cast("Any", super()).on_unknown_task(body, message, exc)
        except ServiceUnavailable as error:
            logger.warning("database_away", unknown_task=str(exc), error=str(error))
