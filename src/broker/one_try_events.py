"""Events that hold nobody up: one that cannot be sent now is kept until the worker has connected anew.

Celery's worker sends the events of its own heart until they are sent, in the loop that takes and acknowledges tasks.
"""

from typing import Any, cast

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class OneTryDispatcher(cast("Any", EventDispatcher)):
    """Celery's dispatcher, which tries each event once."""

    def _publish(self, *arguments: Any, **options: Any) -> None:
        super()._publish(*arguments, **options | {"retry": False})  # pyright: ignore[reportUnknownMemberType] - untyped


class OneTryEvents(cast("Any", Events)):
    """What an application has as `events`."""

    dispatcher_cls = "broker.one_try_events:OneTryDispatcher"
