"""What RabbitMQ keeps, refuses, parks and gives back; run with TEST_BROKER=rabbitmq."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from amqp.exceptions import AMQPError, RecoverableConnectionError
from celery import Celery
from kombu import Connection, Exchange, Producer, Queue
from kombu.asynchronous import Hub
from kombu.exceptions import OperationalError

from broker import parked_messages, rabbitmq
from broker.allegiance import swear
from broker.away import AWAY_ERRORS, BatchCut
from broker.bulk_publish import Message, publish_messages
from broker.envelopes import PARKED_QUEUE
from broker.location import NAMED, BrokerLocation, check_reachable
from broker.rabbitmq_alarms import BrokerBlocked, alarms
from broker.rabbitmq_transport import Transport
from broker.waiting_messages import depths, take_all
from config.settings import settings
from installation import Installation
from processors.errors import ConfigurationError, ServiceUnavailable
from rabbitmq_server import RabbitmqServer, shared_server
from service_tasks import add, keep, mark, unrecorded, unrecorded_until, work_until
from services import monitoring
from services.celery_app import PRIORITIES, QUEUES, celery_app
from services.celery_service import celery_service
from services.publisher import Publisher
from services.relay import take_parked
from services.wiring import parts
from strangers import Stranger
from waiting import until

OPTIONS = {"confirm_publish": True, "answer_timeout": 2}


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def final(task_id: str) -> Any:
    return until(lambda: (r := parts().tasks.read(task_id)) and r.final and r, what=f"{task_id} is final")


@pytest.fixture
def server() -> RabbitmqServer:
    return shared_server()


@pytest.fixture(scope="module")
def host() -> str:
    """The URL of a virtual host that no service uses."""
    return shared_server().fresh_host()


@pytest.fixture
def connection(host: str) -> Iterator[Connection]:
    with Connection(host, transport_options=OPTIONS) as connection:
        yield connection


@pytest.fixture
def queue(connection: Connection) -> Iterator[Queue]:
    """One queue of ours, with its priorities."""
    made = Queue("work", Exchange("test", type="direct"), routing_key="work")
    rabbitmq.declare(connection, [made])
    yield made
    with connection.channel() as channel:
        for name in (*rabbitmq.level_names("work"), PARKED_QUEUE):
            channel.queue_delete(name)


def test_each_priority_of_a_queue_has_a_queue_of_its_own_and_all_are_one_to_everybody_else(
    installation: Installation,
):
    installation.worker.stop()
    sent = {level: add.apply_async((1, 1), queue="email", priority=number) for level, number in PRIORITIES.items()}
    sent["none"] = add.apply_async((1, 1), queue="email")

    with celery_app.connection_for_write() as connection, connection.channel() as channel:
        lying = {
            name: channel.queue_declare(name, passive=True).message_count for name in rabbitmq.level_names("email")
        }
        assert depths(connection, QUEUES)["email"] == 4
    installation.start_worker()

    assert lying == {"email.high": 1, "email": 2, "email.low": 1}
    assert {final(task.id).queue for task in sent.values()} == {"email"}


def test_a_worker_that_is_told_one_queue_takes_every_priority_of_it_and_no_other():
    queues = celery_app.amqp.Queues(celery_app.conf.task_queues)

    queues.select(["email", "default"])
    chosen = list(queues.consume_from)
    queues.deselect(["default"])

    assert chosen == ["email.high", "default.high", "email", "default", "email.low", "default.low"]
    assert list(queues.consume_from) == ["email.high", "email", "email.low"]


def test_tasks_start_by_priority_while_every_priority_has_a_backlog(installation: Installation, tmp_path):
    release, runs, effects = tmp_path / "release", tmp_path / "runs", tmp_path / "effects"
    blockers = [work_until.delay(str(release), str(runs)) for _ in range(2)]
    until(lambda: len(lines(runs)) == 2, what="both slots are taken")
    for level in reversed(PRIORITIES):
        for _ in range(10):
            unrecorded.apply_async((str(effects), level), queue="low_priority", priority=PRIORITIES[level])

    release.touch()
    until(lambda: len(lines(effects)) == 30, what="all ran")

    order = lines(effects)
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}
    # Two run at a time, and a message that is late by more than the grace lets one of the others in.
    assert order[:10].count("high") >= 8
    assert order[-10:].count("low") >= 8


def test_a_queue_that_is_paused_and_resumed_is_so_with_every_priority(installation: Installation, tmp_path):
    celery_app.control.cancel_consumer("low_priority", reply=True)
    paused = celery_service.get_task_result(celery_service.get_queue_stats(), timeout=60)["queues"]
    waiting = [
        mark.apply_async((str(tmp_path / "ran"), level), queue="low_priority", priority=number)
        for level, number in PRIORITIES.items()
    ]
    assert final(add.delay(1, 1).id).result == 2
    assert lines(tmp_path / "ran") == []

    celery_app.control.add_consumer("low_priority", reply=True)

    assert {final(task.id).state for task in waiting} == {"SUCCESS"}
    assert (paused["low_priority"]["consumers"], paused["email"]["consumers"]) == (0, 1)


def test_a_purge_empties_every_priority(installation: Installation, tmp_path):
    installation.worker.stop()
    ran = str(tmp_path / "ran")
    waiting = [mark.apply_async((ran,), queue="low_priority", priority=n) for n in PRIORITIES.values()]

    count = celery_service.purge_queue("low_priority")
    installation.start_worker()

    assert count == 3
    assert {final(task.id).state for task in waiting} == {"REVOKED"}
    assert final(add.delay(1, 1).id).result == 2
    assert lines(tmp_path / "ran") == []


def test_a_batch_is_on_the_broker_when_its_block_ends(connection: Connection, queue: Queue):
    producer = Producer(connection, auto_declare=False)

    with producer.batch(400):
        for number in range(1000):
            producer.publish({"number": number}, routing_key="work", mandatory=True)

    assert depths(connection, ["work"]) == {"work": 1000}
    taken = [message.payload["number"] for message in rabbitmq.messages(connection, "work")]
    assert taken == list(range(1000))


def test_a_batch_whose_connection_is_cut_is_given_up_though_kombu_tries_again(connection: Connection, queue: Queue):
    producer = Producer(connection, auto_declare=False)

    with pytest.raises(BatchCut), producer.batch(10):
        producer.publish({"number": 0}, routing_key="work", retry=True)
        connection.connection.sock.shutdown(socket.SHUT_RDWR)
        producer.publish({"number": 1}, routing_key="work", retry=True)

    producer.publish({"number": 2}, routing_key="work", retry=True)
    assert [message.payload["number"] for message in rabbitmq.messages(connection, "work")][-1] == 2


def test_a_batch_that_a_program_goes_on_with_after_an_error_does_not_succeed(connection: Connection, queue: Queue):
    producer = Producer(connection, auto_declare=False)

    def fails() -> bool:
        try:
            producer.publish({}, routing_key="work", exchange="nowhere")
        except AWAY_ERRORS:
            return True
        return False

    with pytest.raises(BatchCut), producer.batch(10_000):
        producer.publish({}, routing_key="work")
        until(fails, what="the broker has closed the channel")
        with suppress(*AWAY_ERRORS):
            producer.publish({}, routing_key="work")


def test_a_publish_that_the_broker_does_not_confirm_raises_in_time(
    server: RabbitmqServer, connection: Connection, queue: Queue
):
    producer = Producer(connection, auto_declare=False)
    producer.publish({}, routing_key="work")

    server.freeze()
    try:
        with pytest.raises(AWAY_ERRORS):
            producer.publish({}, routing_key="work")
        with pytest.raises(AWAY_ERRORS), producer.batch(10):
            producer.publish({}, routing_key="work")
            producer.publish({}, routing_key="work")
        with pytest.raises(AWAY_ERRORS):
            queue(connection.default_channel).queue_declare(passive=True)
    finally:
        server.thaw()


def test_a_message_for_a_queue_that_is_gone_is_an_error_and_not_lost(connection: Connection, queue: Queue):
    producer = Producer(connection, auto_declare=False)
    with connection.channel() as channel:
        channel.queue_delete("work")

    with pytest.raises(AMQPError, match="NO_ROUTE"):
        producer.publish({}, routing_key="work", mandatory=True)
    with pytest.raises(AMQPError, match="NO_ROUTE"), producer.batch(10):
        producer.publish({}, routing_key="work", mandatory=True)


def test_a_task_is_published_though_its_queue_was_removed_meanwhile(installation: Installation):
    record = final(add.delay(1, 1).id)
    installation.worker.stop()
    with celery_app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete("default")

        assert parts().publisher.publish([record]) == [record]

        assert depths(connection, ["default"]) == {"default": 1}
    installation.start_worker()


def test_an_idle_connection_that_was_cut_costs_a_submit_nothing(installation: Installation):
    record = final(add.delay(1, 1).id)
    assert parts().publisher.publish([record]) == [record]
    shared_server().control("close_all_connections", "test")

    assert parts().publisher.publish([record]) == [record]

    assert final(add.delay(1, 3).id).result == 4


def test_workers_are_asked_though_the_connection_of_the_last_question_was_cut(installation: Installation):
    assert celery_service.get_worker_stats()["stats"]
    shared_server().control("close_all_connections", "test")

    until(lambda: celery_service.get_worker_stats()["stats"], what="the worker answers again")


def test_a_message_that_comes_back_too_often_is_parked(connection: Connection, queue: Queue):
    Producer(connection, auto_declare=False).publish({"poison": True}, routing_key="work")

    deliveries = 0
    with connection.channel() as channel:
        while (message := Queue("work", channel=channel).get()) is not None:
            deliveries += 1
            message.reject(requeue=True)
            assert deliveries <= rabbitmq.DELIVERY_LIMIT + 1

    assert deliveries == rabbitmq.DELIVERY_LIMIT + 1
    until(lambda: parked_messages.count(connection) == 1, what="it is parked")
    assert [message.payload for message in parked_messages.messages(connection)] == [{"poison": True}]
    assert until(lambda: parked_messages.count(connection)) == 1, "looking took it away"


def test_what_is_parked_stays_so_where_its_queue_is_gone(connection: Connection, queue: Queue):
    for number, name in enumerate(("work", "work.low")):
        Producer(connection, auto_declare=False).publish({}, routing_key=name, headers={"id": str(number)})
    with connection.channel() as channel:
        for name in ("work", "work.low"):
            Queue(name, channel=channel).get().reject()
        until(lambda: parked_messages.count(connection) == 2, what="both are parked")
        channel.queue_delete("work")

    assert parked_messages.retry(connection) == 1

    until(lambda: parked_messages.count(connection) == 1, what="one stays")
    assert depths(connection, ["work"]) == {"work": 1}


def test_a_queue_with_what_cannot_be_decompressed_is_emptied_to_its_end_and_that_is_parked(
    connection: Connection, queue: Queue
):
    producer = Producer(connection, auto_declare=False)
    producer.publish("bad", routing_key="work", headers={"id": "1", "compression": "unheard-of"})
    producer.publish("good", routing_key="work", headers={"id": "2"})

    taken = [(headers["id"], body) for headers, body in take_all(connection, "work")]

    assert taken == [("1", "bad"), ("2", "good")]
    assert depths(connection, ["work"]) == {"work": 0}
    until(lambda: parked_messages.count(connection) == 1, what="it is parked")
    assert [(one.task_id, one.queue) for one in parked_messages.look(connection, 10)] == [("1", "work")]


def test_a_message_that_unpacks_to_more_than_one_may_have_is_parked_by_a_worker_that_goes_on(
    installation: Installation,
):
    bomb, task_id = zlib.compress(bytes(100_000_000)), str(uuid4())
    with celery_app.connection_for_write() as connection:
        headers = {"id": task_id, "task": "any", "compression": "gzip"}
        Producer(connection, auto_declare=False).publish(
            bomb, routing_key="default", headers=headers, content_type="application/json", content_encoding="utf-8"
        )
        until(lambda: parked_messages.count(connection) == 1, what="it is parked")
        for message in parked_messages.messages(connection):
            assert message.headers["id"] == task_id
            message.channel.basic_ack(message.delivery_tag)
    assert final(add.delay(1, 1).id).result == 2
    assert installation.worker.count("once it is decompressed") >= 1


def test_a_message_larger_than_one_may_be_is_parked_by_a_worker_that_goes_on(installation: Installation):
    body, task_id = json.dumps([["x" * 50_000_000], {}, {}]), str(uuid4())
    with celery_app.connection_for_write() as connection:
        headers = {"id": task_id, "task": keep.name, "lang": "py"}
        Producer(connection, auto_declare=False).publish(
            body, routing_key="default", headers=headers, content_type="application/json", content_encoding="utf-8"
        )
        until(lambda: parked_messages.count(connection) == 1, what="it is parked")
        for message in parked_messages.messages(connection):
            assert message.headers["id"] == task_id
            message.ack()
    assert final(add.delay(1, 1).id).result == 2
    assert parts().tasks.read(task_id) is None
    assert installation.worker.said(f"the body has {len(body)} bytes, at most 16000000 are accepted")


def test_nothing_is_parked_on_a_broker_that_no_worker_has_seen(server: RabbitmqServer):
    with Connection(server.fresh_host(), transport_options=OPTIONS) as new:
        assert parked_messages.count(new) == 0
        assert parked_messages.look(new, 10) == []
        assert parked_messages.retry(new) == 0
        assert parked_messages.drop(new) == 0


def test_what_is_parked_runs_again_by_its_record_and_what_has_none_stays_and_is_counted(
    installation: Installation, tmp_path
):
    installation.worker.stop()
    ours = mark.delay(str(tmp_path / "ran"))
    theirs = Stranger().send_task("test.no_such_task", queue="default")
    with celery_app.connection_for_write() as connection:
        until(lambda: depths(connection, ["default"]) == {"default": 2}, what="both wait")
        with connection.channel() as channel:
            for _ in range(2):
                Queue("default", channel=channel).get().reject()
        until(lambda: parked_messages.count(connection) == 2, what="both are parked")

    stay = take_parked()
    installation.start_worker()

    assert final(ours.id).state == "SUCCESS"
    assert stay == 1
    with pytest.raises(ServiceUnavailable, match="1 messages that no worker can use are parked"):
        monitoring.probes(parts())["parked"]()
    with celery_app.connection_for_write() as connection:
        for message in parked_messages.messages(connection):
            assert message.headers["id"] == theirs.id
            message.ack()


@pytest.fixture
def full(server: RabbitmqServer) -> Iterator[Callable[..., Callable[[], None]]]:
    """Lets a queue refuse more than one message, until the end of the test or until what that returns is called."""
    everywhere: set[str] = set()

    def refuse(connection: Connection, queue: str) -> Callable[[], None]:
        host = str(connection.virtual_host)
        limit = '{"max-length": 1, "overflow": "reject-publish"}'
        server.control("set_policy", "-p", host, "full", f"^{queue}$", limit)
        everywhere.add(host)
        return lambda: allow(host)

    def allow(host: str) -> None:
        everywhere.discard(host)
        server.control("clear_policy", "-p", host, "full")

    yield refuse
    for host in list(everywhere):
        allow(host)


def refuses(producer: Producer, queue: str) -> bool:
    """Publish to a queue; tell whether it was refused."""
    try:
        producer.publish({}, routing_key=queue)
    except OperationalError as error:
        return "policy" in str(error)
    return False


def test_what_a_full_queue_refuses_is_an_error_of_celery(
    full: Callable[..., Callable[[], None]], connection: Connection, queue: Queue
):
    producer = Producer(connection, auto_declare=False)
    full(connection, "work")
    until(lambda: refuses(producer, "work"), what="the policy holds")

    for size in (1, 10):
        with pytest.raises(OperationalError, match="policy"), producer.batch(size):
            producer.publish({}, routing_key="work", retry=True, retry_policy={"max_retries": 1})


def messages(queue: str, count: int) -> list[Message]:
    payload = {"body": "{}", "content-type": "application/json", "content-encoding": "utf-8", "headers": {}}
    properties = [{"delivery_mode": 2, "correlation_id": f"{queue} {number}"} for number in range(count)]
    return [Message(queue, 0, {**payload, "properties": one}) for one in properties]


def test_the_messages_that_a_full_queue_refuses_are_told_from_those_that_it_takes(
    full: Callable[..., Callable[[], None]], connection: Connection, queue: Queue
):
    full(connection, "work")
    taken = 0

    def refused() -> set[Message]:
        nonlocal taken
        sent = [*messages("work", 50), *messages("work.low", 2)]
        found = publish_messages(connection, sent)
        taken += len(sent) - len(found)
        return found

    found = until(refused, what="some are refused")

    assert {message.queue for message in found} == {"work"}
    assert depths(connection, ["work"]) == {"work": taken}


def test_what_a_batch_has_given_up_concerns_no_later_message(
    full: Callable[..., Callable[[], None]], connection: Connection, queue: Queue
):
    producer = Producer(connection, auto_declare=False)
    full(connection, "work")
    until(lambda: refuses(producer, "work"), what="the policy holds")

    before = depths(connection, ["work"])["work"]
    with pytest.raises(InterruptedError), producer.batch(10):
        producer.publish({}, routing_key="work")
        raise InterruptedError

    producer.publish({}, routing_key="work.low")
    assert depths(connection, ["work"]) == {"work": before + 1}


def fill(connection: Connection, path: Path, **options: Any) -> None:
    """Publish tasks to a queue of the service until it takes no more."""

    def refused() -> bool:
        try:
            unrecorded.apply_async((str(path),), connection=connection, retry=False, **options)
        except OperationalError as error:
            return "policy" in str(error)
        return False

    until(refused, what="it is full")


def test_what_a_full_queue_refuses_is_kept_in_its_record_and_runs_when_there_is_room(
    installation: Installation, full: Callable[..., Callable[[], None]], tmp_path
):
    installation.worker.stop()
    with celery_app.connection_for_write() as connection:
        full(connection, "default")
        fill(connection, tmp_path / "ran")
        before = depths(connection, ["default"])

        accepted = [add.delay(1, number).id for number in range(3)]

        assert parts().publisher.full_queues() == {"default"}
        assert depths(connection, ["default"]) == before
    installation.start_worker()

    assert [final(one).result for one in accepted] == [1, 2, 3]
    assert [final(one).run for one in accepted] == [1, 1, 1]


def test_a_full_queue_holds_up_no_other(installation: Installation, full: Callable[..., Callable[[], None]], tmp_path):
    installation.worker.stop()
    low = {"queue": "low_priority", "priority": PRIORITIES["low"]}
    later = add.apply_async((3, 0), countdown=2)
    with celery_app.connection_for_write() as connection:
        full(connection, "low_priority.low")
        fill(connection, tmp_path / "ran", **low)

        refused = [add.apply_async((1, number), **low) for number in range(3)]
        taken = [add.apply_async((2, 0), queue="low_priority", priority=PRIORITIES["high"]), add.delay(2, 1)]

        assert parts().publisher.full_queues() == {"low_priority.low"}
        assert depths(connection, ["low_priority.high"]) == {"low_priority.high": 1}
        until(lambda: depths(connection, ["default"]) == {"default": 2}, what="the leader looks past them")
    installation.start_worker()

    assert [final(task.id).result for task in (*refused, *taken, later)] == [1, 2, 3, 2, 3, 3]


@pytest.fixture
def alarm(server: RabbitmqServer) -> Iterator[Callable[[], None]]:
    """RabbitMQ's memory alarm: it reads nothing more from whoever publishes, until what this returns is called."""

    def over() -> None:
        server.control("set_vm_memory_high_watermark", "0.4")

    server.control("set_vm_memory_high_watermark", "0.000001")
    yield over
    over()


def test_under_an_alarm_a_publish_is_refused_at_once_and_an_event_dropped_and_both_go_when_it_is_over(
    host: str, connection: Connection, queue: Queue, alarm: Callable[[], None]
):
    events = Exchange("celeryev", type="topic", delivery_mode="transient")
    with Connection(host, transport_options=OPTIONS | {"answer_timeout": 60}) as other:
        producer = Producer(other, auto_declare=False)
        events(other.default_channel).declare()
        with pytest.raises(BrokerBlocked, match="short of memory"):
            producer.publish({}, routing_key=queue.name, retry=True)
        with pytest.raises(BrokerBlocked, match="short of memory"), producer.batch(10):
            producer.publish({}, routing_key=queue.name)
        with pytest.raises(BrokerBlocked, match="short of memory"):
            producer.publish({}, routing_key=queue.name, delivery_mode="transient")
        with pytest.raises(BrokerBlocked, match="short of memory"):
            Queue("new", channel=other.default_channel).declare()
        with pytest.raises(BrokerBlocked, match="short of memory"):
            other.channel()
        sent = other.connection.bytes_sent
        for _ in range(1000):
            producer.publish({"text": "x" * 10_000}, exchange=events, delivery_mode="transient")
        assert other.connection.bytes_sent == sent

        alarm()
        until(lambda: not other.connection.still_blocked(), what="the broker says that it reads again")
        producer.publish({}, routing_key=queue.name, retry=False)
    # The first one was sent before the broker said that it would not read it.
    assert rabbitmq.depths(connection, [queue.name]) == {queue.name: 2}


@pytest.mark.parametrize("wait", ["publish", "declare"])
def test_an_alarm_that_an_event_has_met_is_not_waited_for_by_what_comes_next(
    host: str, queue: Queue, alarm: Callable[[], None], wait: str
):
    with Connection(host, transport_options=OPTIONS | {"answer_timeout": 60}) as other:
        producer = Producer(other, auto_declare=False)
        producer.publish({}, exchange="amq.topic", routing_key="x", delivery_mode="transient")
        with pytest.raises(BrokerBlocked):
            if wait == "publish":
                producer.publish({}, routing_key=queue.name, retry=True)
            else:
                Queue("new", channel=other.default_channel).declare()


def test_under_an_alarm_a_program_that_goes_on_publishing_sends_one_message_and_keeps_one_connection(
    server: RabbitmqServer, connection: Connection, queue: Queue, host: str, alarm: Callable[[], None]
):
    app = Celery("publisher", set_as_current=False)
    app.conf.broker_read_url = app.conf.broker_write_url = host
    app.conf.update(broker_transport_options=OPTIONS, task_default_queue=queue.name, task_create_missing_queues=False)
    app.conf.task_queues = [Queue(queue.name, queue.exchange, routing_key=queue.name, no_declare=True)]
    for _ in range(12):
        with pytest.raises(OperationalError, match="short of memory"):
            app.send_task("any")
    with pytest.raises(OperationalError, match="short of memory"):
        app.control.revoke("any")
    connections = server.control("list_connections", "vhost", "state").splitlines()
    alarm()

    assert connections.count(f"{host.rpartition('/')[2]}\tblocked") == 1
    until(lambda: not alarms.go_on(connection.connection), what="the process knows that it is over")
    app.send_task("any")
    assert rabbitmq.depths(connection, [queue.name]) == {queue.name: 2}
    app.close()


def test_an_event_on_a_connection_that_was_closed_says_so(host: str):
    other = Connection(host, transport_options=OPTIONS)
    producer = Producer(other.channel(), auto_declare=False)
    producer.channel.close()
    with pytest.raises(RecoverableConnectionError):
        producer.publish({}, exchange="celeryev", routing_key="x", delivery_mode="transient")
    other.release()


def cut(connection: Connection) -> None:
    """Cut a connection as the broker does that was not heard for too long, and let its owner notice."""
    connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(AWAY_ERRORS):
        while connection.connected:
            connection.drain_events(timeout=5)


@pytest.fixture
def taken() -> list[Any]:
    """The messages that a loop has read."""
    return []


@pytest.fixture
def loop(connection: Connection, queue: Queue, taken: list[Any]) -> Iterator[Hub]:
    """A worker's loop that listens to a connection where a message has come."""
    Producer(connection, auto_declare=False).publish({}, routing_key=queue.name)
    connection.default_channel.basic_consume(queue.name, consumer_tag="one", callback=taken.append)
    made = Hub()
    connection.transport.register_with_event_loop(connection.connection, made)
    select.select([connection.connection.sock], [], [], 10)
    yield made
    made.close()
    connection.collect()


def test_a_loop_that_begins_anew_reads_no_more_from_the_connection_before(
    connection: Connection, loop: Hub, taken: list[Any]
):
    loop.call_soon(connection.transport.on_readable, connection.connection, loop)
    loop.reset()
    connection.collect()

    next(loop.create_loop())
    assert taken == []


def test_a_loop_reads_its_messages_and_says_that_its_connection_was_cut(
    connection: Connection, loop: Hub, taken: list[Any]
):
    transport, cut_one = connection.transport, connection.connection
    running = loop.create_loop()
    until(lambda: next(running) or taken, what="it is read")
    cut_one.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(AWAY_ERRORS):
        until(lambda: next(running))
    assert not cut_one.connected

    loop.call_soon(transport.on_readable, cut_one, loop)
    with pytest.raises(RecoverableConnectionError):
        next(loop.create_loop())


def test_a_heartbeat_does_not_hide_that_its_connection_was_cut(host: str):
    with celery_app.connection_for_write(host, heartbeat=4) as other:
        other.connect()
        other.heartbeat_check()
        cut(other)
        with pytest.raises(RecoverableConnectionError):
            other.heartbeat_check()
        assert not other.connected


def test_a_worker_whose_heart_has_a_channel_of_a_connection_that_was_cut_does_not_connect_without_end(
    host: str, monkeypatch
):
    connected: list[Any] = []
    connect = Transport.establish_connection

    def counted(transport: Any) -> Any:
        connected.append(transport)
        assert len(connected) < 10
        return connect(transport)

    monkeypatch.setattr(Transport, "establish_connection", counted)
    with celery_app.connection_for_write(host, heartbeat=4) as other:
        heart = celery_app.events.Dispatcher(other, hostname="w@h")
        heart.send("worker-heartbeat", retry=True)
        old = other.connection
        cut(other)
        assert other.connection is not old  # another one, of which the heart knows nothing
        heart.send("worker-heartbeat", retry=True)
        old.collect()
    assert len(connected) == 2
    assert len(heart._outbound_buffer) == 1


def test_a_heart_whose_connection_nobody_beats_over_connects_anew_after_a_cut(host: str):
    with celery_app.connection_for_write(host, heartbeat=0) as other:
        heart = celery_app.events.Dispatcher(other, hostname="w@h")
        heart.send("worker-heartbeat", retry=True)
        cut(other)
        heart.send("worker-heartbeat", retry=True)
        assert other.connected
        assert not heart._outbound_buffer


def test_a_submit_under_an_alarm_is_kept_in_its_record_and_runs_when_the_alarm_is_over(
    installation: Installation, alarm: Callable[[], None]
):
    accepted = [add.delay(1, number).id for number in range(3)]
    waiting = [parts().tasks.read(one).state for one in accepted]

    alarm()

    assert waiting == ["PENDING"] * 3
    assert [final(one).result for one in accepted] == [1, 2, 3]
    assert [final(one).run for one in accepted] == [1, 1, 1]


def test_a_worker_that_starts_under_an_alarm_empties_the_queues_that_raised_it(
    installation: Installation, tmp_path, request: pytest.FixtureRequest
):
    installation.worker.stop()
    effects = tmp_path / "ran"
    for number in range(4000):
        unrecorded.apply_async((str(effects), str(number)))
    request.getfixturevalue("alarm")
    lost = installation.worker.count("Connection to broker lost")

    installation.start_worker()

    until(lambda: len(lines(effects)) >= 4000, 120, "all ran")
    with celery_app.connection_for_read() as connection:
        until(lambda: depths(connection, ["default"]) == {"default": 0}, what="all are acknowledged")
    assert Counter(lines(effects)) == Counter(str(number) for number in range(4000))
    assert installation.worker.count("Connection to broker lost") == lost


def test_an_unknown_task_is_parked(installation: Installation):
    unknown = Stranger().send_task("test.no_such_task", queue="default")

    with celery_app.connection_for_write() as connection:
        until(lambda: parked_messages.count(connection) == 1, what="it is parked")
        for message in parked_messages.messages(connection):
            assert message.headers["id"] == unknown.id
            message.ack()
    assert final(add.delay(1, 1).id).result == 2


def test_messages_of_a_killed_worker_come_back_at_once(installation: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    blockers = [work_until.delay(str(release), str(runs)) for _ in range(2)]
    until(lambda: len(lines(runs)) == 2, what="both slots are taken")
    held = [unrecorded.apply_async((str(tmp_path / "ran"),), queue="low_priority") for _ in range(2)]
    with celery_app.connection_for_write() as connection:
        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 0}, what="the worker holds them")

        installation.worker.kill()

        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 2}, 5, "they are back")
    installation.start_worker()
    release.touch()

    until(lambda: len(lines(tmp_path / "ran")) == 2, what="both ran")
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}
    assert len(held) == 2


def test_messages_of_a_frozen_worker_come_back_while_it_is_frozen(installation: Installation, tmp_path):
    release, runs = tmp_path / "release", tmp_path / "runs"
    blockers = [work_until.delay(str(release), str(runs)) for _ in range(2)]
    until(lambda: len(lines(runs)) == 2, what="both slots are taken")
    for _ in range(2):
        unrecorded.apply_async((str(tmp_path / "ran"),), queue="low_priority")
    worker = installation.worker.process
    with celery_app.connection_for_write() as connection:
        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 0}, what="the worker holds them")

        worker.send_signal(signal.SIGSTOP)

        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 2}, what="they are back")
        worker.send_signal(signal.SIGCONT)
    release.touch()

    until(lambda: len(lines(tmp_path / "ran")) == 2, what="both ran")
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}
    assert [final(task.id).run for task in blockers] == [1, 1]


def test_a_warm_shutdown_gives_back_at_once_and_in_order_what_has_not_begun(installation: Installation, tmp_path):
    release, runs, effects = tmp_path / "release", tmp_path / "runs", tmp_path / "ran"
    blockers = [work_until.delay(str(release), str(runs)) for _ in range(2)]
    until(lambda: len(lines(runs)) == 2, what="both slots are taken")
    for number in range(2):
        unrecorded.apply_async((str(effects), str(number)), queue="low_priority")
    worker = installation.worker.process
    with celery_app.connection_for_write() as connection:
        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 0}, what="the worker holds them")

        worker.send_signal(signal.SIGTERM)

        until(lambda: depths(connection, ["low_priority"]) == {"low_priority": 2}, what="they are back")
        assert worker.poll() is None
        with connection.channel() as channel:
            back = [Queue("low_priority", channel=channel).get().payload[0][1] for _ in range(2)]
    release.touch()
    worker.wait(60)
    installation.start_worker()

    assert back == ["0", "1"]
    until(lambda: sorted(lines(effects)) == ["0", "1"], what="both ran")
    assert {final(task.id).state for task in blockers} == {"SUCCESS"}


def test_a_pool_of_threads_that_stops_holds_what_it_runs_for_longer_than_a_heartbeat(
    installation: Installation, tmp_path
):
    release, runs = tmp_path / "release", tmp_path / "runs"
    command = installation.worker.command
    installation.worker.stop()
    installation.worker.command = [*command, "--pool=threads", "--concurrency=2"]
    installation.worker.variables["SOFT_SHUTDOWN_TIMEOUT"] = "120"
    installation.start_worker()
    unrecorded_until.apply_async((str(release), str(runs)), queue="low_priority")
    until(lambda: len(lines(runs)) == 1, what="it runs")
    worker = installation.worker.process
    worker.send_signal(signal.SIGTERM)

    with celery_app.connection_for_write() as connection, pytest.raises(AssertionError):
        until(lambda: depths(connection, ["low_priority"])["low_priority"], 4 * rabbitmq.HEARTBEAT_SECONDS)
    release.touch()
    worker.wait(60)
    installation.worker.command = command
    del installation.worker.variables["SOFT_SHUTDOWN_TIMEOUT"]
    installation.start_worker()

    with celery_app.connection_for_write() as connection:
        assert depths(connection, ["low_priority"]) == {"low_priority": 0}
    assert final(add.delay(1, 1).id).result == 2
    assert len(lines(runs)) == 1


def test_no_task_without_a_record_is_lost_though_the_broker_is_killed_while_it_is_published(
    installation: Installation, server: RabbitmqServer, tmp_path
):
    effects, accepted = tmp_path / "effects", []
    worker = installation.worker.process

    for number in range(300):
        if number == 150:
            server.kill()
        try:
            unrecorded.apply_async((str(effects), str(number)), retry=False)
        except AWAY_ERRORS:
            server.start()
        else:
            accepted.append(str(number))

    assert 290 <= len(accepted) <= 299
    until(lambda: set(accepted) <= set(lines(effects)), what="every accepted task had its effect")
    twice = [one for one, times in Counter(lines(effects)).items() if times > 1]
    assert len(twice) <= 2 * 3, "at most what the worker held when the broker died"
    assert worker.poll() is None, "the worker outlived it"


@pytest.fixture(scope="module")
def own_server() -> Iterator[RabbitmqServer]:
    """A node that may lose its data."""
    server = RabbitmqServer()
    server.start()
    yield server
    server.end()


def consume(connection: Connection, queue: str) -> None:
    channel = connection.channel()
    channel.basic_consume(queue, consumer_tag="one", callback=lambda _: None)
    channel.close()


def test_every_queue_answers_after_a_kill_of_the_broker_right_after_they_were_made(own_server: RabbitmqServer):
    made = [Queue(name, Exchange("test", type="direct"), routing_key=name) for name in QUEUES]
    with Connection(own_server.url(), transport_options=OPTIONS) as connection:
        rabbitmq.declare(connection, made)
    own_server.kill()
    own_server.start()

    with Connection(own_server.url(), transport_options=OPTIONS) as connection:
        for name in (level for queue in QUEUES for level in rabbitmq.level_names(queue)):
            consume(connection, name)


def test_a_queue_that_answers_nobody_is_named_though_the_broker_goes_on_beating(own_server: RabbitmqServer):
    with Connection(own_server.url(), transport_options=OPTIONS) as connection:
        rabbitmq.declare(connection, [Queue("work", Exchange("test", type="direct"), routing_key="work")])
    own_server.control("eval", "sys:suspend(whereis('%2F_work.high')).")
    # Opened only now: nobody beats for it while a command runs, which may take longer than the broker waits.
    with Connection(own_server.url(), heartbeat=2, transport_options=OPTIONS | {"answer_timeout": 3}) as connection:
        with pytest.raises(RecoverableConnectionError, match=r"the queue work\.high answers nobody"):
            consume(connection, "work.high")
        connection.collect()
        own_server.control("eval", "sys:resume(whereis('%2F_work.high')).")
        consume(connection, "work.high")


def test_a_start_says_in_one_line_what_is_wrong_with_the_broker(server: RabbitmqServer, connection: Connection):
    def refusal(url: str) -> str:
        with pytest.raises(ConfigurationError) as refused:
            check_reachable(BrokerLocation(url, NAMED), timeout=2)
        assert "\n" not in str(refused.value)
        assert "wrong-password" not in str(refused.value)
        return str(refused.value)

    there = f"127.0.0.1:{server.port}"
    assert "refuses the user or the password" in refusal(f"amqp://guest:wrong-password@{there}//")
    assert "virtual host" in refusal(f"amqp://guest:guest@{there}/nowhere")
    assert "does not answer: [Errno 111] Connection refused; start it" in refusal("amqp://guest:guest@127.0.0.1:1//")
    check_reachable(BrokerLocation(server.url(), NAMED), timeout=5)


def test_a_queue_that_was_made_for_something_else_is_one_line_with_the_cure(connection: Connection, queue: Queue):
    with connection.channel() as channel:
        channel.queue_declare("other.high", durable=True, auto_delete=False)

    with pytest.raises(ConfigurationError, match=r"other\.high .* was made for something else .*delete_queue"):
        rabbitmq.declare(connection, [Queue("other", queue.exchange, routing_key="other")])


@pytest.fixture(scope="module")
def powerless(host: str) -> str:
    """The URL of a user who may read and nothing else."""
    shared_server().control("add_user", "reader", "nothing")
    shared_server().control("set_permissions", "-p", host.rpartition("/")[2], "reader", "^$", "^$", ".*")
    return host.replace("guest:guest", "reader:nothing")


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda connection: rabbitmq.declare(connection, []), r"queue csai\.parked"),
        (lambda connection: rabbitmq.swear(connection, "one"), r"exchange csai\.database"),
        (rabbitmq.set_mark, r"exchange csai\.kept"),
    ],
)
def test_a_user_without_permission_is_told_what_for_and_which(
    powerless: str, act: Callable[[Connection], None], what: str
):
    wanted = rf"user of amqp://reader:\*\*@.* may not make the {what} .*configure.*docs/rabbitmq\.md"
    with Connection(powerless, transport_options=OPTIONS) as own, pytest.raises(ConfigurationError, match=wanted):
        act(own)


@pytest.mark.parametrize("command", ["celery -A services.celery_app:celery_app worker", "cli.main doctor"])
def test_a_worker_and_the_doctor_name_the_missing_permission_without_a_traceback(powerless: str, command: str):
    variables = os.environ | {"CELERY_BROKER_URL": powerless, "COLUMNS": "500"}
    full = [sys.executable, "-m", *command.split()]
    ended = subprocess.run(full, check=False, env=variables, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "may not make the exchange csai.database" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_submit_takes_a_broker_that_does_not_permit_it_for_one_that_is_away(powerless: str, monkeypatch):
    monkeypatch.setattr(settings, "celery_broker_url", powerless)
    Publisher("one").check()


@pytest.mark.parametrize(("text", "good"), [("3.9.29", False), ("3.10.0", True), ("4.2.1", True)])
def test_a_rabbitmq_that_is_too_old_is_refused(connection: Connection, monkeypatch, text, good):
    connection.connect()
    monkeypatch.setitem(connection.connection.server_properties, "version", text)

    if good:
        assert rabbitmq.version(connection) == tuple(map(int, text.split(".")))
    else:
        with pytest.raises(ConfigurationError, match=r"RabbitMQ 3\.9\.29; .* 3\.10 or newer"):
            rabbitmq.version(connection)


def test_a_broker_serves_one_database_and_names_the_other(connection: Connection):
    swear(connection, "one")
    swear(connection, "one")

    with pytest.raises(ConfigurationError, match="belongs to record database one, this process uses two"):
        swear(connection, "two")


def test_tls_takes_a_certificate_of_the_host_that_is_connected_to_alone(server: RabbitmqServer):
    def connect(host: str, options: str) -> None:
        url = f"amqps://guest:guest@{host}:{server.tls_port}//{options}"
        check_reachable(BrokerLocation(url, NAMED), timeout=5)

    trusted = f"?ssl_ca_certs={server.authority}"
    with pytest.raises(ConfigurationError, match="certificate verify failed"):
        connect("localhost", "")
    with pytest.raises(ConfigurationError, match=r"certificate verify failed.*127\.0\.0\.1"):
        connect("127.0.0.1", trusted)
    connect("localhost", trusted)
