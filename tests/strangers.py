"""Another program with a Celery of its own, which knows our broker and nothing else of us."""

from typing import Any

from celery import Celery
from kombu import Queue

from broker.location import resolve
from config.settings import settings


class Stranger:
    """Sends tasks past the facade, to queues that it does not make."""

    def __init__(self) -> None:
        self._app = Celery(broker=resolve(settings).url)
        self._app.conf.broker_transport_options = {"global_keyprefix": settings.redis_key_prefix}

    def send_task(self, name: str, *arguments: Any, queue: str, **options: Any) -> Any:
        # A connection of its own: RabbitMQ drops without a word what comes over one that met a full queue.
        with self._app.connection_for_write() as connection:
            return self._app.send_task(
                name, *arguments, queue=Queue(queue, no_declare=True), connection=connection, **options
            )
