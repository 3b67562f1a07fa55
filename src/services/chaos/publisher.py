"""The publishing process: `python -m services.chaos.publisher stock|transport|recorded`.

Each line of its input is a batch: the numbers of its tasks. What a hand-over returned for is written down as accepted;
what failed is neither tried again nor accepted, because nobody knows whether the broker took it.
"""

import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from broker.away import AWAY_ERRORS
from broker.quick_messages import QuickCelery
from processors.errors import ServiceUnavailable
from services.chaos.effects import TASK_NAME
from services.chaos.journal import Kind, journal
from services.chaos.numbers import delay_of

PAUSE_SECONDS = 0.2
RECOVERY_SECONDS = 60
UNCERTAIN = (*AWAY_ERRORS, ServiceUnavailable)


class Publisher(Protocol):
    """Hands tasks over, one way or another."""

    def publish(self, numbers: Sequence[int]) -> None:
        """Hand these over."""
        ...

    def recover(self) -> None:
        """Wait, after a failure, until another hand-over may succeed."""
        ...


class PlainPublisher:
    """Publishes on a plain application: one message by itself, several in Kombu's batch, or by our `send_many`."""

    def __init__(self, module: str) -> None:
        self._app: Any = import_module(f"services.chaos.{module}").app

    def publish(self, numbers: Sequence[int]) -> None:
        """Publish these; they are accepted once the broker has answered for all of them."""
        journal.write(Kind.SENT, numbers)
        if len(numbers) == 1:
            self._send(numbers[0])
        elif _goes_together(numbers) and isinstance(self._app, QuickCelery):
            self._app.send_many(TASK_NAME, [((), {"number": number}) for number in numbers], ignore_result=True)
        else:
            with self._app.producer_pool.acquire(block=True) as producer, producer.batch():
                for number in numbers:
                    self._send(number, producer=producer)
        journal.write(Kind.ACCEPTED, numbers)

    def recover(self) -> None:
        """Wait for the broker, so that an outage costs one batch and not all that follow."""
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(
                interval_start=PAUSE_SECONDS, interval_step=0, interval_max=PAUSE_SECONDS, timeout=RECOVERY_SECONDS
            )

    def _send(self, number: int, **options: Any) -> None:
        self._app.send_task(TASK_NAME, kwargs={"number": number}, **options)


class RecordedPublisher:
    """Submits to the service, as the facade does."""

    def __init__(self) -> None:
        self._app: Any = import_module("services.celery_app").celery_app
        self._submission: Any = import_module("services.submission")
        self._options: Any = import_module("services.submit_options").Options

    def publish(self, numbers: Sequence[int]) -> None:
        """Submit these, those that are due at once by themselves or together; accepted is what is committed."""
        together = [number for number in numbers if not delay_of(number)] if _goes_together(numbers) else []
        if together:
            journal.write(Kind.SENT, together)
            self._submission.submit_many([self._draft(number) for number in together])
            journal.write(Kind.ACCEPTED, together)
        for number in numbers:
            if number not in together:
                journal.write(Kind.SENT, [number])
                self._submit(number, delay_of(number))
                journal.write(Kind.ACCEPTED, [number])

    def recover(self) -> None:
        """Wait a moment: a record needs no broker."""
        time.sleep(PAUSE_SECONDS)

    def _draft(self, number: int) -> Any:
        return self._submission.draft_by_name(TASK_NAME, {"number": number}, queue="default", origin="chaos")

    def _submit(self, number: int, delay: float) -> None:
        kwargs = {"number": number}
        if delay:
            # First in its queue, so that a queue's length does not look like a due time that was missed.
            options = self._options.of(delay_seconds=delay, priority="high")
            self._submission.submit_by_name(TASK_NAME, kwargs, queue="default", origin="chaos", options=options)
        else:
            self._app.send_task(TASK_NAME, kwargs=kwargs, queue="default", record={"origin": "chaos"})


def _goes_together(numbers: Sequence[int]) -> bool:
    """Tell whether a batch is handed over in one call: every other one is."""
    return numbers[0] % 2 == 0


def serve(publisher: Publisher) -> None:
    """Publish every batch that the input names, until it ends."""
    journal.write(Kind.READY)
    for line in sys.stdin:
        try:
            publisher.publish([int(number) for number in line.split()])
        except UNCERTAIN as error:
            print(f"{line.strip()}: {error}", file=sys.stderr)  # noqa: T201 - its log
            publisher.recover()


def main() -> None:
    """Publish through what the command line names."""
    way = sys.argv[1]
    publisher = RecordedPublisher() if way == "recorded" else PlainPublisher(f"{way}_app")
    serve(publisher)


if __name__ == "__main__":
    main()
