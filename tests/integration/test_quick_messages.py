"""Publishing without needless work: the same messages as Celery's own, and Celery itself where more is asked."""

import base64
import json
import os
import socket
import threading
from contextlib import suppress

import pytest
from celery import Celery, signals
from kombu import pools
from kombu.exceptions import EncodeError, OperationalError
from kombu.utils.collections import eqhash

from broker import claim_channel, quick_messages, redis_transport
from broker.away import AWAY_ERRORS
from broker.quick_messages import QuickCelery
from redis_server import RedisServer, bundled
from relay import Relay
from waiting import until


@pytest.fixture(scope="module")
def server():
    redis_transport.register()
    running = RedisServer(bundled()).start()
    yield running
    running.stop()


def made(kind, server, url="", **settings):
    app = kind("quick", broker=url or server.url, set_as_current=False)
    defaults = {"task_publish_retry": False, "broker_transport_options": {"socket_timeout": 2}}
    app.conf.update(task_ignore_result=True, **defaults | settings)

    @app.task(name="quick.add", shared=False)
    def add(x, y=0):
        return x + y

    @app.task(name="own", shared=False, time_limit=7)
    def own():
        pass

    app.finalize()
    return app, add


@pytest.fixture
def app(server):
    with server.client() as client:
        client.flushall()
    app, add = made(QuickCelery, server)
    yield app, add
    close_pools(app)


def close_pools(app) -> None:
    """Close what an application sends by, and nothing of others: pools are the process's, by their connections."""
    app.forget_quick_connection()
    key = eqhash(app.connection_for_write())
    for group in (pools.producers, pools.connections):
        if dict.__contains__(group, key):
            dict.pop(group, key).force_close_all()


def messages(server, queue: str = "celery") -> list[dict]:
    with server.client() as client:
        return [json.loads(raw) for raw in reversed(client.lrange(queue, 0, -1))]


def body(message: dict) -> list:
    return json.loads(base64.b64decode(message["body"]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"priority": 6},
        {"time_limit": 10, "soft_time_limit": 5},
        {"task_id": "an-id"},
        {"ignore_result": True},
    ],
    ids=["nothing", "priority", "limits", "id", "ignored"],
)
def test_a_plain_message_is_celerys_own_word_for_word(server, app, options):
    _, stock_add = made(Celery, server)
    queue = "celery" + ("\x06\x166" if "priority" in options else "")
    given = {"args": ("é",), "kwargs": {"y": {"z": [1.5, None, True]}}}
    for task in (stock_add, app[1]):
        task.apply_async(**given, **options)
    theirs, ours = messages(server, queue)
    assert body(ours) == body(theirs)
    for message in (theirs, ours):
        for own in ("id", "root_id", "origin"):
            message["headers"].pop(own)
        for own in ("correlation_id", "reply_to", "delivery_tag"):
            assert message["properties"].pop(own)
        message.pop("body")
    assert ours["headers"].pop("argsrepr") == "('é',)"
    theirs["headers"].pop("argsrepr")
    ours["headers"].pop("kwargsrepr"), theirs["headers"].pop("kwargsrepr")
    assert ours == theirs


@pytest.mark.parametrize("options", [{}, {"time_limit": None}, {"queue": "other"}], ids=["its", "cleared", "given"])
def test_a_task_known_here_is_sent_by_its_name_with_its_own_options(server, app, options):
    stock, _ = made(Celery, server)
    for one in (stock, app[0]):
        one.send_task("own", **options)
    app[0].send_many("own", [((), {})], ignore_result=True, **options)
    queue = options.get("queue", "celery")
    theirs, ours, one_of_many = messages(server, queue)
    for header in ("timelimit", "ignore_result"):
        assert ours["headers"][header] == theirs["headers"][header]
    assert one_of_many["headers"]["timelimit"] == theirs["headers"]["timelimit"]


@pytest.mark.parametrize("priority", [-1, "5", None, 100, 2.7])
def test_any_priority_lands_where_celery_puts_it(server, app, priority):
    _, stock_add = made(Celery, server)

    def lists() -> dict:
        with server.client() as client:
            return {key: client.llen(key) for key in client.scan_iter(_type="list")}

    stock_add.apply_async((1,), priority=priority)
    (where,) = lists()
    app[1].apply_async((1,), priority=priority)
    assert lists() == {where: 2}


def test_each_thread_gets_its_own_results_by_rpc(server, app):
    quick, add = app
    oids = [quick.thread_oid]
    add.delay(1)

    def other():
        oids.append(quick.thread_oid)
        add.delay(2)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert [message["properties"]["reply_to"] for message in messages(server)] == oids
    assert oids[0] != oids[1]


def test_what_is_not_plain_goes_celerys_own_way(server, app):
    _, add = app
    add.apply_async((1,), countdown=60)
    add.apply_async((2,), link=add.s(1))
    add.apply_async((3,), headers={"mine": 1})
    add.apply_async((4,), expires=60)
    later, linked, own, expiring = messages(server)
    assert later["headers"]["eta"]
    assert body(linked)[2]["callbacks"]
    assert own["headers"]["mine"] == 1
    assert expiring["headers"]["expires"]


def test_celerys_publish_signals_are_sent_to_who_listens(server, app):
    seen = []

    def listener(sender, headers, **_):
        seen.append((sender, headers["id"]))

    signals.before_task_publish.connect(listener)
    try:
        result = app[1].delay(1)
    finally:
        signals.before_task_publish.disconnect(listener)
    assert seen == [("quick.add", result.id)]


def test_a_publisher_to_ever_new_queues_keeps_little_of_them(server, app, monkeypatch):
    monkeypatch.setattr(quick_messages, "WAYS_KEPT", 10)
    monkeypatch.setattr(claim_channel, "MARKINGS_KEPT", 10)
    quick, add = app
    for number in range(35):
        add.apply_async((number,), queue=f"reply-{number}")
    assert len(quick._quick._ways) <= 10
    assert len(quick._quick.channel()._markings) <= 10
    assert [body(messages(server, f"reply-{number}")[0])[0] for number in range(35)] == [[n] for n in range(35)]


def test_an_argument_that_is_no_json_raises_what_celery_raises(app):
    with pytest.raises(EncodeError):
        app[1].delay(object())
    with pytest.raises(EncodeError, match="no JSON value"):
        app[0].send_many(app[1].name, [((object(),), {})], ignore_result=True)


def test_every_thread_may_publish_and_nothing_is_lost_or_doubled(server, app):
    _, add = app
    threads = [
        threading.Thread(target=lambda first=first: [add.delay(number) for number in range(first, first + 100)])
        for first in range(0, 800, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = messages(server)
    assert sorted(body(message)[0][0] for message in found) == list(range(800))
    assert len({message["properties"]["delivery_tag"] for message in found}) == 800


def published_by_threads(add, threads: int) -> tuple[list[int], list[Exception]]:
    """Publish ten messages in each thread, all at once; returns what was published, and the errors."""
    together, sent, errors = threading.Barrier(threads), [], []

    def publish(first: int) -> None:
        together.wait(20)
        for number in range(first, first + 10):
            try:
                add.delay(number)
                sent.append(number)
            except Exception as error:
                errors.append(error)

    running = [threading.Thread(target=publish, args=(10 * number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    return sorted(sent), errors


def test_more_threads_may_publish_at_once_than_kombu_has_connections(server, app):
    sent, errors = published_by_threads(app[1], 40)
    assert errors == []
    assert sorted(body(message)[0][0] for message in messages(server)) == sent == list(range(400))


def test_a_thread_that_has_to_connect_anew_cuts_no_other_one_off(server, app):
    app, add = app
    add.delay(1)
    publishing = app._quick.channel()._idle_connection()  # as a thread in the middle of publishing holds one
    publishing.send_command("PING")
    app._quick.forget()
    assert publishing.read_response() == b"PONG"
    publishing.disconnect()
    add.delay(2)
    assert [body(message)[0][0] for message in messages(server)] == [1, 2]


def test_a_fork_publishes_over_a_connection_of_its_own(server, app):
    _, add = app
    add.delay("parent")
    pid = os.fork()
    if pid == 0:
        try:
            add.delay("child")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    add.delay("parent again")
    assert [body(message)[0][0] for message in messages(server)] == ["parent", "child", "parent again"]
    assert len({message["properties"]["delivery_tag"] for message in messages(server)}) == 3


def test_many_are_sent_in_order_with_an_id_each(server, app):
    quick, _ = app
    ids = quick.send_many("quick.add", (((number,), {"y": number}) for number in range(1_234)), priority=3)
    found = messages(server, "celery\x06\x163")
    assert [message["headers"]["id"] for message in found] == ids
    assert [body(message)[:2] for message in found] == [[[number], {"y": number}] for number in range(1_234)]


def test_many_with_what_is_not_plain_are_sent_too(server, app):
    quick, _ = app
    ids = quick.send_many("quick.add", [((1,), {}), ((2,), {})], headers={"mine": 1})
    assert [message["headers"]["id"] for message in messages(server)] == ids


def test_a_broker_that_is_away_is_celerys_own_error_and_its_return_is_noticed():
    redis_transport.register()
    server = RedisServer(bundled()).start()
    app, add = made(QuickCelery, server)
    try:
        add.delay(1)
        server.kill()
        with pytest.raises(OperationalError):
            add.delay(2)
        server.start()
        add.delay(3)
        assert [body(message)[0][0] for message in messages(server)] == [3]
    finally:
        close_pools(app)
        server.stop()


@pytest.fixture
def silent():
    """A broker that takes connections and says nothing, as one that hangs; `taken` are those."""
    listener, taken = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        with suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1], taken
    listener.shutdown(socket.SHUT_RDWR)
    for one in (listener, *taken):
        one.close()


def test_threads_that_meet_a_broker_that_hangs_connect_once_and_hold_up_nobody_else(server, silent):
    port, taken = silent
    url, errors = f"redis://127.0.0.1:{port}/0", []
    app, _ = made(QuickCelery, server, url=url, broker_transport_options={"socket_timeout": 60})
    quick = app._quick

    def connect():
        try:
            quick.channel()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=connect, daemon=True) for _ in range(4)]
    threads[0].start()
    until(lambda: taken, what="the first connects")
    quick.forget()
    assert errors == [], "another thread waited for the connection"
    for thread in threads[1:]:
        thread.start()
    (attempt,) = quick._attempts.values()
    until(lambda: len(attempt._condition._waiters) == 3, what="the others wait for the first one")
    assert len(taken) == 1
    until(lambda: [one.close() for one in taken] and not any(thread.is_alive() for thread in threads), what="all ended")
    assert len(errors) == 4
    assert all(isinstance(error, AWAY_ERRORS) for error in errors)
    assert {str(error) for error in errors} == {str(errors[0])}


def test_a_task_stays_quick_where_another_thread_forgets_the_connection_meanwhile(server, app, monkeypatch):
    quick, _ = app
    real, forgotten = os.getpid, []

    def getpid():
        if not forgotten and quick._quick._connection is not None and not quick._quick._lock.locked():
            forgotten.append(quick._quick._connection)
            quick._quick.forget()
        return real()

    monkeypatch.setattr("broker.quick_messages.os.getpid", getpid)

    assert quick._quick.way("quick.add", {}, None) is not None
    forgotten[0].collect()


def test_many_for_a_broker_that_is_away_raise_celerys_own_error_and_its_return_is_noticed():
    redis_transport.register()
    server = RedisServer(bundled()).start()
    app, _ = made(QuickCelery, server)
    try:
        app.send_many("quick.add", [((1,), {})], ignore_result=True)
        server.kill()
        for _ in range(2):  # over a connection that was cut, and over none
            with pytest.raises(OperationalError):
                app.send_many("quick.add", [((2,), {})], ignore_result=True)
        server.start()
        app.send_many("quick.add", [((3,), {})], ignore_result=True)
        assert [body(message)[0][0] for message in messages(server)] == [3]
    finally:
        close_pools(app)
        server.stop()


@pytest.mark.parametrize("again", [True, False])
def test_a_message_whose_answer_was_lost_is_sent_again_by_celerys_setting_alone(server, again):
    relay = Relay(server.port)
    app, add = made(QuickCelery, server, url=relay.url, task_publish_retry=again)
    with server.client() as client:
        client.flushall()
    try:
        add.delay(1)
        relay.lose_answer_to = b"LPUSH"
        if again:
            sent = add.delay(2)
            assert [message["headers"]["id"] for message in messages(server)[1:]] == [sent.id, sent.id]
        else:
            with pytest.raises(OperationalError):
                add.delay(2)
            assert [body(message)[0][0] for message in messages(server)] == [1, 2]
    finally:
        close_pools(app)
        relay.close()


def test_a_message_is_put_once_though_its_marker_is_refused(server):
    with server.client() as client:
        client.flushall()
        rights = ["+@all", "-zadd"]
        client.acl_setuser("short", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=rights)
    url = server.url.replace("redis://", "redis://short:any@")
    app, add = made(QuickCelery, server, url=url, task_publish_retry=True)
    try:
        ids = [add.delay(1).id, *app.send_many("quick.add", [((2,), {})], ignore_result=True)]
        assert [message["headers"]["id"] for message in messages(server)] == ids
    finally:
        close_pools(app)
        with server.client() as client:
            client.acl_deluser("short")
