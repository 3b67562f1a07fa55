"""A worker tries each event once: while its broker is away it goes on with what it has to do."""

from typing import Any

import pytest

from broker.quick_messages import QuickCelery
from services.celery_app import celery_app


class Away:
    """A producer whose broker is away."""

    def __init__(self) -> None:
        self.retry: list[bool] = []

    def publish(self, *_: Any, retry: bool, **__: Any) -> None:
        self.retry.append(retry)
        raise ConnectionError

    def revive(self, _: Any) -> None:
        """Stay away."""


@pytest.mark.parametrize("app", [celery_app, QuickCelery("quick", broker="redis://127.0.0.1:1")])
def test_an_event_that_cannot_be_sent_is_tried_once_and_kept(app):
    dispatcher = app.events.Dispatcher(app.connection_for_write(), hostname="w@h")
    dispatcher.producer = away = Away()
    dispatcher.send("worker-heartbeat", retry=True)
    assert away.retry == [False]
    assert [routing_key for _, routing_key in dispatcher._outbound_buffer] == ["worker.heartbeat"]
