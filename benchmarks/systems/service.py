"""Ours as the service: every task has a record, in the database that DATABASE_URL or DATA_DIR names."""

from collections.abc import Iterable

import effects

from broker.waiting_messages import depths
from services.celery_app import celery_app
from services.celery_service import MOST_AT_ONCE, celery_service
from services.submission import submit_by_name

DISTRIBUTIONS = ("celery", "kombu", "billiard", "redis", "hiredis", "sqlalchemy", "psycopg")
QUEUE = "default"
CALL_SECONDS = 30

WHERE = {"queue": QUEUE, "origin": "facade"}


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


def publish_bulk(task: str, numbers: Iterable[int]) -> None:
    """Submit in bulk, as users do: a record and a message for each, 10 000 in one transaction."""
    many = [{"argument": effects.payload(number)} for number in numbers]
    for start in range(0, len(many), MOST_AT_ONCE):
        celery_service.submit_many(f"bench.{task}", many[start : start + MOST_AT_ONCE], queue=QUEUE)


def waiting() -> int:
    """Return how many messages lie in the queue."""
    with celery_app.connection_for_write() as connection:
        return depths(connection, [QUEUE])[QUEUE]


def call(number: int) -> int:
    """Submit one task and wait for its result."""
    return celery_service.get_task_result(_submit("echo", number), CALL_SECONDS)


def _submit(task: str, number: int) -> str:
    return submit_by_name(*_task(task, number), **WHERE)


def _task(task: str, number: int) -> tuple[str, dict[str, object]]:
    return f"bench.{task}", {"argument": effects.payload(number)}
