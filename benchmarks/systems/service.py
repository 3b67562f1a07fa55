"""Ours as the service: every task has a record, in the database that DATABASE_URL or DATA_DIR names."""

from collections.abc import Iterable

import effects

from broker.waiting_messages import depths
from services.celery_app import PRIORITIES, celery_app
from services.celery_service import celery_service
from services.wiring import parts

DISTRIBUTIONS = ("celery", "kombu", "billiard", "redis", "hiredis", "sqlalchemy", "psycopg")
QUEUE = "default"
CALL_SECONDS = 30

bulks: list[str] = []


@celery_app.task(name="bench.no_operation")
def no_operation(argument: dict[str, object]) -> None:
    """Do nothing but be counted."""
    effects.note_effect(argument)


@celery_app.task(name="bench.echo")
def echo(argument: dict[str, object]) -> int:
    """Return the task's number."""
    return effects.echo(argument)


def publish(task: str, numbers: Iterable[int]) -> None:
    """Submit one by one: what each method of the facade does once its arguments are checked."""
    for number in numbers:
        _submit(task, number)


def publish_bulk(task: str, numbers: Iterable[int]) -> None:  # noqa: ARG001 - the facade's bulk is one of mails
    """Submit in bulk through the facade: one record for each mail, and a task for each 50 of them."""
    texts = ((number, str(effects.payload(number)["text"])) for number in numbers)
    emails = [{"to_email": f"reader-{number}@example.com", "subject": "Bulk", "body": text} for number, text in texts]
    bulks.append(celery_service.send_bulk_emails(emails))


def waiting() -> int:
    """Return how many messages lie in the queue."""
    with celery_app.connection_for_write() as connection:
        return depths(connection, [QUEUE])[QUEUE]


def publish_bulk_count() -> int:
    """Return how many mails the records hold."""
    return sum(sum(parts().members.tally(bulk).values()) for bulk in bulks)


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return celery_service.get_task_result(_submit("echo", number), CALL_SECONDS)


def _submit(task: str, number: int) -> str:
    arguments = {"argument": effects.payload(number)}
    options = {"queue": QUEUE, "priority": PRIORITIES["normal"], "record": {"origin": "facade"}}
    return celery_app.send_task(f"bench.{task}", kwargs=arguments, **options).id
