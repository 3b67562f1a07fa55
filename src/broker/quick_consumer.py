"""A consumer that asks the broker and its own event loop for no more than it needs, where the transport is ours."""

from typing import Any, cast

from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker import state
from celery.worker.consumer import Consumer

from broker import rabbitmq


class QuickConsumer(cast("Any", Consumer)):
    """Celery's consumer, which fetches many messages at once and acknowledges in whatever thread ended the task."""

    def __init__(self, *arguments: Any, app: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        if app.connection_for_read().transport_cls in rabbitmq.SCHEMES:
            # Under an alarm RabbitMQ reads nothing more from a connection that publishes, as a greeting does.
            worker_options = (worker_options or {}) | {"without_mingle": True}
        cast("Any", Consumer).__init__(self, *arguments, app=app, worker_options=worker_options, **options)
        if isinstance(self.pool, SoloPool):
            self.amqheartbeat = 0  # its tasks run in the loop that would beat

    def connect(self) -> Any:
        """Connect; while work waits in this worker the next messages are not fetched one by one."""
        connection = cast("Any", Consumer).connect(self)
        channel = connection.default_channel  # that of the tasks' consumer
        if self.hub is not None and hasattr(channel, "has_work"):
            channel.has_work = self._has_work
        return connection

    def _has_work(self) -> bool:
        """Tell whether more than half of what this worker may hold beyond one message a slot waits for a slot."""
        slots = self.pool.num_processes or 0
        return len(state.reserved_requests) - slots > slots * (self.prefetch_multiplier - 1) // 2

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> Any:
        """Acknowledge or reject, at once where any thread may."""
        transport = getattr(self.connection, "transport", None)  # there is none between two connections
        if getattr(transport, "acknowledges_in_any_thread", False):
            return acknowledge(*arguments)
        return cast("Any", Consumer).call_soon_ack(self, acknowledge, *arguments)
