"""A plain Celery application, as careful as Celery's own settings make it: what chaos runs without records."""

from typing import Any, cast

from celery import Celery

from broker.rabbitmq import HEARTBEAT_SECONDS
from config.settings import settings
from services.chaos.effects import TASK_NAME, take_effect, watch_worker

VISIBILITY_SECONDS = 60
"""What stock Kombu waits before it gives a dead worker's message to another; its own default is an hour."""

QUEUE = "chaos"
PUBLISH_SECONDS = 5


def plain_app(kind: type[Celery] = Celery) -> Celery:
    """Return the application, on the broker of the settings and on whatever transport is registered."""
    app = kind("chaos", broker=settings.celery_broker_url)
    on_rabbitmq = settings.celery_broker_url.startswith(("amqp", "pyamqp"))
    app.conf.update(
        broker_transport_options={"confirm_publish": True} if on_rabbitmq else _redis_options(),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=HEARTBEAT_SECONDS,
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_default_queue_type="quorum" if on_rabbitmq else "classic",
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    cast("Any", app).task(name=TASK_NAME)(_effect)
    watch_worker()
    return app


def _effect(number: int) -> None:
    take_effect(number)


def _redis_options() -> dict[str, Any]:
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": PUBLISH_SECONDS,
        "socket_timeout": 2 * PUBLISH_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
