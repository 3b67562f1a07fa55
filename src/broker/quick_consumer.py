"""A consumer that asks the broker and its own event loop for no more than it needs, where the transport is ours."""

from typing import Any, cast

from celery.worker.consumer import Consumer


class QuickConsumer(cast("Any", Consumer)):
    """Celery's consumer, which fetches many messages at once and acknowledges in whatever thread ended the task."""

    def connect(self) -> Any:
        """Connect; where messages wait in this worker the next are not fetched one by one."""
        connection = cast("Any", Consumer).connect(self)
        if self.hub is not None and hasattr(connection.transport, "least_claim"):
            connection.transport.least_claim = self._least_claim
        return connection

    def _least_claim(self) -> int:
        """Return half of what this worker holds beyond one message a slot, so that no slot runs dry meanwhile."""
        if self.app.conf.worker_disable_prefetch:
            return 1
        return max(1, self.pool.num_processes * (self.prefetch_multiplier - 1) // 2)

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> Any:
        """Acknowledge or reject, at once where any thread may."""
        transport = getattr(self.connection, "transport", None)  # there is none between two connections
        if getattr(transport, "acknowledges_in_any_thread", False):
            return acknowledge(*arguments)
        return cast("Any", Consumer).call_soon_ack(self, acknowledge, *arguments)
