"""What our workers do with messages that Celery has no answer to."""

from types import SimpleNamespace

from kombu import Message

from processors.errors import ServiceUnavailable
from services.celery_app import celery_app
from services.wiring import parts
from services.worker_consumer import ServiceConsumer


def test_an_unknown_task_that_arrives_while_the_database_is_away_is_parked_and_ends_no_worker(monkeypatch):
    rejected, found = [], ServiceConsumer.__new__(ServiceConsumer)
    vars(found).update(app=celery_app, event_dispatcher=None, connection_errors=())
    channel = SimpleNamespace(basic_reject=lambda tag, requeue: rejected.append((tag, requeue)))
    message = Message(b"[[],{},{}]", headers={"id": "1", "task": "unknown"}, channel=channel, delivery_tag="tag")
    asked = []

    def away(*arguments):
        asked.append(arguments[0])
        raise ServiceUnavailable("The database does not answer.")

    monkeypatch.setattr(type(parts().moves), "fail_waiting", lambda _, *arguments: away(*arguments))

    found.on_unknown_task(None, message, KeyError("unknown"))

    assert (rejected, asked) == ([("tag", False)], ["1"])
