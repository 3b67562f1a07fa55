"""The Celery application: queues, limits, routes, and where its messages and results go."""

import inspect
import pkgutil
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

from celery import Celery, _state, concurrency
from kombu import Connection, Exchange, Producer, Queue

from broker import rabbitmq, rabbitmq_transport, redis_transport
from broker.location import resolve
from config.settings import settings
from services.celery_schedule import schedule

QUEUES = ("high_priority", "default", "email", "twilio_calls", "ai_processing", "file_processing", "low_priority")
"""In the order in which a worker of all of them serves them; what it passes over for long gets its turn."""

ROUTED = ("email", "file_processing", "ai_processing", "twilio_calls")
"""Categories that have a queue of their own; the other categories' tasks go to `default`."""

PRIORITIES = {"high": 0, "normal": 3, "low": 6}
"""The smallest number goes first, on Redis and on RabbitMQ."""

TASKS_FOLDER = Path(__file__).parent / "celery_tasks"
TASK_MODULES = [
    f"services.celery_tasks.{module.name}"
    for module in pkgutil.iter_modules([str(TASKS_FOLDER)])
    if module.name != "base"
]


class ServiceApp(Celery):
    """Celery, with the broker resolved at every connect and due times kept in records instead of workers."""

    def connection_for_read(self, url: str | None = None, **options: Any) -> Connection:
        """Connect to where the broker is now, to consume."""
        return super().connection_for_read(url or resolve(settings).url, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        """Connect to where the broker is now, to publish; nothing here waits longer than the publish time-out."""
        limits = {
            "socket_timeout": settings.publish_timeout,
            "socket_connect_timeout": settings.publish_timeout,
            "max_retries": 0,
            "answer_timeout": settings.publish_timeout,
            "write_timeout": settings.publish_timeout,
        }
        options["transport_options"] = TRANSPORT_OPTIONS | limits | (options.get("transport_options") or {})
        options.setdefault("connect_timeout", settings.publish_timeout)
        options.setdefault("heartbeat", 0)  # nobody beats for a publisher that waits for work; TCP keeps it alive
        return super().connection_for_write(url or resolve(settings).url, **options)

    def send_task(self, name: str, *args: Any, **options: Any) -> Any:
        """Send a task by name; a delay, a due time or an expiry goes into its record, never into a worker's memory."""
        due = {key: options.pop(key, None) for key in ("countdown", "eta", "expires")}
        if any(value is not None for value in due.values()):
            options["timing"] = due
        if options.get("producer") is None and is_recorded(name):
            options["producer"] = self._recording_producer  # spares Celery a connection that nothing is sent over
        return super().send_task(name, *args, **options)

    def task(self, *args: Any, **options: Any) -> Any:
        """Declare a task of this application alone: another one in this process would run it without a record."""
        declare: Any = super().task
        return declare(*args, **{"shared": False} | options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a class-based task; one on Celery's plain class gets a record, too."""
        one: Any = task() if inspect.isclass(task) else task
        one.__class__ = self._recorded(one.__class__)
        return super().register_task(one, **options)

    def _task_from_fun(self, fun: Any, name: Any = None, base: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - the stubs name each option
        """Make a task of a function, whoever declared it and on whatever class."""
        make = cast("Any", super())._task_from_fun  # noqa: SLF001 - Celery's own way, also for shared tasks
        return make(fun, name=name, base=base and self._recorded(base), **options)

    @cache  # noqa: B019 - there is one application, for ever
    def _recorded(self, base: Any) -> Any:
        """Return this class of tasks with a record behind every run, and inside it what the class puts around one."""
        recorded = cast("Any", self).Task
        own: dict[str, Any] = {"abstract": True, "__module__": base.__module__}
        if not issubclass(base, recorded.__bases__):  # `Task` itself is a fresh class for each application
            base = type(base.__name__, (base, recorded), own)
        if base.__call__ is not recorded.__call__:
            base = type(base.__name__, (base,), own | {"__call__": recorded.__call__, "wrapping": base.__call__})
        return base

    @cached_property
    def _recording_producer(self) -> Producer:
        """What Celery hands on for a recorded task: never connected, because the publisher has connections."""
        return Producer(self.connection_for_write(), auto_declare=False)


TRANSPORT_OPTIONS: dict[str, Any] = {
    "global_keyprefix": settings.redis_key_prefix,
    "priority_steps": sorted({*PRIORITIES.values(), 9}),
    "socket_connect_timeout": 5,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "confirm_publish": True,
    **resolve(settings).options,
}

redis_transport.register()
rabbitmq_transport.register()
cast("Any", concurrency).ALIASES["threads"] = "services.threads:TaskPool"  # what `--pool=threads` is here
_exchange = Exchange("csai", type="direct")

celery_app = ServiceApp(
    "csai",
    amqp="services.submission:RecordingAMQP",
    backend="services.record_backend:RecordBackend",
    events="broker.one_try_events:OneTryEvents",
    loader="services.task_loader:TaskLoader",
    task_cls="services.celery_tasks.base:RecordedTask",
    include=[*TASK_MODULES, *settings.task_modules, "services.worker_steps"],
)

if cast("Any", _state).default_app is None:
    celery_app.set_default()  # a shared task belongs to it in every thread, not only in this one

celery_app.conf.update(
    broker_url=resolve(settings).url,
    broker_transport_options=TRANSPORT_OPTIONS,
    broker_connection_timeout=5,
    broker_heartbeat=rabbitmq.HEARTBEAT_SECONDS,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_acquire_timeout=5,
    accept_content=["json"],
    result_accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_queues=[Queue(name, _exchange, routing_key=name) for name in QUEUES],
    task_create_missing_queues=False,
    task_default_queue="default",
    task_routes={f"{name}.*": {"queue": name} for name in ROUTED},
    task_default_priority=PRIORITIES["normal"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure=True,
    task_acks_on_timeout=True,
    task_track_started=False,
    task_send_sent_event=settings.celery_send_events,
    task_time_limit=settings.celery_task_time_limit,
    task_soft_time_limit=settings.celery_task_soft_time_limit,
    worker_send_task_events=settings.celery_send_events,
    worker_concurrency=settings.celery_worker_concurrency,
    worker_max_tasks_per_child=settings.celery_worker_max_tasks_per_child,
    worker_max_memory_per_child=settings.celery_worker_max_memory_per_child,
    worker_consumer="services.worker_consumer:ServiceConsumer",
    worker_pool="services.prefork:TaskPool",  # of processes; `--pool` chooses another one
    worker_prefetch_multiplier=1,
    worker_proc_alive_timeout=30,
    worker_soft_shutdown_timeout=settings.soft_shutdown_timeout,
    worker_enable_soft_shutdown_on_idle=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    beat_schedule=schedule(settings),
    beat_scheduler="services.beat:RecordScheduler",
    beat_max_loop_interval=5,
    timezone="UTC",
    enable_utc=True,
)


def is_recorded(name: str) -> bool:
    """Tell whether tasks of this name get a record: all but Celery's own and those that say `record = False`."""
    if name.startswith("celery."):
        return False
    task = cast("Any", celery_app)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every task module here
    return bool(getattr(task, "record", True))
