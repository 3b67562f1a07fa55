"""A plain Celery application and the ways to publish that Celery itself has; ours and stock share it."""

from collections.abc import Iterable

from celery import Celery
from effects import BROKER_URL, KEEPS_RESULTS, echo, no_operation, payload, wait

QUEUE = "default"
BATCH = 500
CALL_SECONDS = 30


def make_app(kind: type[Celery] = Celery) -> Celery:
    """Return an application with the three tasks; late acknowledgement, no events, no remote control, no retries."""
    app = kind("bench", broker=BROKER_URL, backend=BROKER_URL if KEEPS_RESULTS else None)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue=QUEUE,
        task_ignore_result=not KEEPS_RESULTS,
        task_publish_retry=False,
        worker_disable_rate_limits=True,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )
    for body in (no_operation, wait, echo):
        app.task(name=f"bench.{body.__name__}")(body)
    return app


def delay_each(app: Celery, task: str, numbers: Iterable[int]) -> None:
    """Publish one by one, as Celery's users do."""
    delay = app.tasks[f"bench.{task}"].delay
    for number in numbers:
        delay(payload(number))


def publish_batched(app: Celery, task: str, numbers: Iterable[int]) -> None:
    """Publish through Kombu's `Producer.batch`, the bulk path that stock Celery has."""
    publish = app.tasks[f"bench.{task}"].apply_async
    with app.producer_or_acquire() as producer, producer.batch(BATCH):
        for number in numbers:
            publish((payload(number),), producer=producer)


def depth(app: Celery) -> int:
    """Return how many messages lie in the queue."""
    with app.connection_for_read() as connection:
        return connection.default_channel.queue_declare(QUEUE, durable=True).message_count


def call_task(app: Celery, number: int) -> int:
    """Submit one task and wait for its result."""
    return app.tasks["bench.echo"].delay(payload(number)).get(timeout=CALL_SECONDS)
