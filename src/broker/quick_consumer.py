"""A consumer that acknowledges in whatever thread ended the task, where the transport lets any thread do so."""

from typing import Any, cast

from celery.worker.consumer import Consumer


class QuickConsumer(cast("Any", Consumer)):
    """Celery's consumer, which does not wake its event loop for each acknowledgement: ours are only noted."""

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> Any:
        """Acknowledge or reject."""
        transport = getattr(self.connection, "transport", None)  # there is none between two connections
        if getattr(transport, "acknowledges_in_any_thread", False):
            return acknowledge(*arguments)
        return cast("Any", Consumer).call_soon_ack(self, acknowledge, *arguments)
