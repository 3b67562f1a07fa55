"""What users of Celery have works on claims: a plain app, real workers, and Celery's own tools."""

import base64
import json
import signal
import time
import urllib.request
from datetime import UTC, datetime

import pytest
from celery import chain, chord, group
from kombu.exceptions import OperationalError

from broker import envelopes, redis_transport
from broker.claims import ClaimKeys
from broker.envelopes import PARKED_QUEUE
from consuming import claimed
from plain_worker import Plain
from redis_server import RedisServer, bundled, free_port, installed
from waiting import until

KEYS = ClaimKeys("")
PREFORK = ("-c", "2")
THREADS = ("-P", "threads", "-c", "2")
SOLO = ("-P", "solo")


DEBIAN = pytest.param(installed, id="debian", marks=pytest.mark.services)
on_debian_only = pytest.mark.parametrize("server", [DEBIAN], indirect=True)


@pytest.fixture(scope="module", params=[pytest.param(bundled, id="bundled"), DEBIAN])
def server(request):
    redis_transport.register()
    running = RedisServer(request.param()).start()
    yield running
    running.stop()


@pytest.fixture
def plain(server, tmp_path):
    with server.client() as client:
        client.flushall()
    made = Plain(server, tmp_path)
    yield made
    made.close()


def is_clean(client) -> None:
    """Nothing is in hand, and nobody is left."""
    assert claimed(client) == {}
    assert client.zcard(KEYS.owners) == client.scard(KEYS.dead) == 0


@pytest.mark.parametrize("pool", [PREFORK, THREADS], ids=["prefork", "threads"])
def test_a_group_a_chain_a_chord_and_retries(plain, pool):
    worker = plain.worker(*pool)
    add, total = plain.app.signature("add"), plain.app.signature("total")
    many = group(add.clone((n, n)) for n in range(10)).apply_async()
    chained = chain(add.clone((1, 2)), add.clone((10,)), add.clone((100,))).apply_async()
    corded = chord((add.clone((n, 1)) for n in range(10)), total).apply_async()
    again = plain.send("again", 3)
    assert many.get(timeout=30) == [2 * n for n in range(10)]
    assert chained.get(timeout=30) == 113
    assert corded.get(timeout=30) == 55
    assert again.get(timeout=30) == 3
    assert plain.seen() == [f"attempt {n}" for n in range(4)]
    assert "Traceback" not in worker.stop()
    is_clean(plain.broker)


@on_debian_only
def test_an_eta_is_kept_in_a_living_claim_and_comes_back_from_a_killed_worker_for_its_time(plain):
    first = plain.worker(*PREFORK)
    due = time.time() + 13
    plain.send("note_time", "later", eta=datetime.fromtimestamp(due, UTC))
    until(lambda: "received" in first.said(), 20, "the first worker has it")
    assert len(claimed(plain.broker)) == 1
    second = plain.worker(*THREADS)
    first.kill()
    until(lambda: "received" in second.said(), 20, "the second worker has it")
    assert plain.seen() == []
    (found,) = until(plain.seen, 30, "it runs")
    value, moment = json.loads(found)
    assert value == "later"
    assert moment >= due
    second.stop()
    assert plain.seen() == [found]
    is_clean(plain.broker)


def test_remote_control_reaches_a_worker_and_changes_it(plain):
    worker = plain.worker("-c", "1", "-E")
    inspect, control = plain.app.control.inspect(timeout=10, limit=1), plain.app.control
    plain.send("hold", "x")
    plain.send("note", "kept")
    plain.until_seen("begin x")
    assert inspect.ping() == {"w0@here": {"ok": "pong"}}
    assert [task["name"] for task in inspect.active()["w0@here"]] == ["hold"]
    until(lambda: [task["name"] for task in inspect.reserved()["w0@here"]] == ["note"], 10, "the other is reserved")
    assert inspect.stats()["w0@here"]["broker"]["transport"] == "redis"
    assert "hold" in inspect.registered()["w0@here"]
    assert [queue["name"] for queue in inspect.active_queues()["w0@here"]] == ["work"]
    ask = {"reply": True, "timeout": 10, "limit": 1}
    assert control.pool_grow(1, **ask) == [{"w0@here": {"ok": "pool will grow"}}]
    plain.until_seen("kept")
    (answer,) = control.rate_limit("add", "100/s", **ask)
    assert "ok" in answer["w0@here"]
    (answer,) = control.add_consumer("more", **ask)
    assert "ok" in answer["w0@here"]
    plain.send("note", "from more", queue="more")
    plain.until_seen("from more")
    (answer,) = control.cancel_consumer("more", **ask)
    assert "ok" in answer["w0@here"]
    plain.send("note", "too late", queue="more")
    plain.release()
    plain.until_seen("end x")
    assert plain.broker.llen("more") == 1
    assert control.shutdown() is None
    worker.process.wait(30)
    is_clean(plain.broker)


def event(body: bytes, content_type: str = "application/json", key: str = "worker.heartbeat") -> str:
    info = {"delivery_info": {"routing_key": key} if key else {}, "delivery_tag": "1", "body_encoding": "base64"}
    about = {"content-type": content_type, "content-encoding": "utf-8", "headers": {}, "properties": info}
    return json.dumps({"body": base64.b64encode(body).decode(), **about})


def test_an_event_that_no_worker_can_read_ends_none(plain):
    worker = plain.worker("-c", "1")
    unreadable = [event(b"5"), event(b"{}"), event(b"{", key=""), event(b"{"), event(b"x", "application/x-unheard-of")]
    unreadable.append(event(b"x", "application/x-python-serialize"))
    first, *others = unreadable
    until(lambda: plain.broker.publish("/0.celeryev/worker.heartbeat", first) == 1, 60, "the worker hears events")
    for one in others:
        assert plain.broker.publish("/0.celeryev/worker.heartbeat", one) == 1
    until(lambda: worker.said().count("malformed_broadcast") == len(unreadable), 60, "all are dropped")
    assert plain.app.control.ping(timeout=10, limit=1) == [{"w0@here": {"ok": "pong"}}]


@on_debian_only
def test_the_commands_of_celery_see_a_worker_and_its_queues(plain):
    worker = plain.worker(*THREADS, "-E")
    assert "w0@here: OK" in plain.run("status", "-t", "3").stdout
    with plain.start_command("events", "--dump") as watch:
        until(lambda: "heartbeat: " in watch.said(), 30, "events are shown")
        plain.send("note", 1)
        until(lambda: "succeeded" in watch.said(), 30, "the task's end is shown")
    worker.stop()
    for number in range(5):
        plain.send("note", number)
    answer = plain.run("amqp", "basic.get", "work")
    assert "delivery_info" in answer.stdout, answer.stderr
    assert plain.broker.llen("work") == 5
    is_clean(plain.broker)
    answer = plain.run("amqp", "queue.purge", "work")
    assert "5 messages deleted" in answer.stdout, answer.stderr
    assert plain.broker.llen("work") == 0
    plain.send("note", 1)
    answer = plain.run("purge", "-f")
    assert "Purged 1 message" in answer.stdout, answer.stderr


@on_debian_only
def test_flower_shows_the_worker_and_the_depths_of_its_queues(plain):
    port = free_port()
    plain.worker("-c", "1", "-E", "-Q", "work,other")
    plain.send("hold", "x")
    plain.until_seen("begin x")
    for number in range(7):
        plain.send("note", number, queue="other", priority=(0, 3, 6, 9)[number % 4])
    until(lambda: plain.broker.llen("other") + plain.broker.llen("work") < 7, 10, "some are in hand")
    with plain.start_command("flower", "--address=127.0.0.1", f"--port={port}") as flower:

        def page(path: str) -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                    return answer.read().decode()
            except OSError as error:
                return str(error)

        until(lambda: "w0@here" in page("/api/workers?refresh=1"), 40, f"Flower knows the worker: {flower.said()}")
        waiting = sum(plain.broker.llen(f"other{step}") for step in ("", "\x06\x163", "\x06\x166", "\x06\x169"))
        shown = json.loads(page("/api/queues/length"))["active_queues"]
        assert {one["name"]: one["messages"] for one in shown} == {"work": 0, "other": waiting}
        broker = page("/broker")
        assert "other" in broker
        assert "work" in broker
    plain.release()


def test_a_warm_shutdown_finishes_what_runs_and_gives_back_what_was_prefetched_in_its_order(plain):
    worker = plain.worker("-c", "1")
    plain.send("hold", "x")
    plain.until_seen("begin x")
    for number in range(8):
        plain.send("note", number)
    until(lambda: len(claimed(plain.broker)) == 4, 20, "some are prefetched")
    worker.send(signal.SIGTERM)
    until(lambda: "Warm shutdown" in worker.said(), 20, "it ends")
    plain.release()
    worker.process.wait(30)
    is_clean(plain.broker)
    assert plain.broker.llen("work") == 8
    assert plain.seen() == ["begin x", "end x"]
    plain.worker("-c", "1")
    plain.until_seen("7")
    assert plain.seen() == ["begin x", "end x", *map(str, range(8))]


@pytest.mark.parametrize("pool", [("-c", "1"), ("-P", "threads", "-c", "1")], ids=["prefork", "threads"])
def test_a_warm_shutdown_gives_back_at_once_what_has_not_begun(plain, monkeypatch, pool):
    monkeypatch.setenv("PLAIN_GIVES_BACK_EARLY", "1")
    first = plain.worker(*pool)
    plain.send("hold", "x")
    plain.until_seen("begin x")
    plain.send("note", "later", countdown=5)
    for number in range(8):
        plain.send("note", number)
    until(lambda: len(claimed(plain.broker)) == 5, 20, "some are prefetched")
    first.send(signal.SIGTERM)
    until(lambda: plain.broker.llen("work") == 9, 20, "they are back")
    queued = [json.loads(raw)["headers"] for raw in reversed(plain.broker.lrange("work", 0, -1))]
    assert [headers["argsrepr"] for headers in queued] == ["('later',)", *(f"({number},)" for number in range(8))]
    assert not any(envelopes.DELIVERY_COUNT in headers for headers in queued)
    second = plain.worker(*pool)
    plain.until_seen(*map(str, range(8)), "later")
    assert first.process.poll() is None
    plain.release()
    first.process.wait(30)
    assert "Traceback" not in first.said()
    second.stop()
    assert sorted(plain.seen()) == sorted(["begin x", "end x", *map(str, range(8)), "later"])
    is_clean(plain.broker)


def test_each_task_runs_once_though_its_workers_are_shut_down_one_after_the_other(plain, monkeypatch):
    monkeypatch.setenv("PLAIN_GIVES_BACK_EARLY", "1")
    plain.fill(600, stock=False)
    worker = plain.worker(*THREADS, "--prefetch-multiplier", "40")
    for count in (50, 200, 350):
        until(lambda count=count: plain.effects.llen("effects") >= count, 30, f"{count} have run")
        worker.send(signal.SIGTERM)
        worker.process.wait(30)
        is_clean(plain.broker)
        worker = plain.worker(*THREADS, "--prefetch-multiplier", "40")
    until(lambda: plain.effects.llen("effects") >= 600, 30, "all have run")
    worker.stop()
    assert sorted(map(int, plain.seen())) == list(range(600))


@on_debian_only
@pytest.mark.parametrize("settings", [{}, {"worker_soft_shutdown_timeout": 0.5}], ids=["cold", "soft"])
def test_a_cold_shutdown_gives_back_what_runs(plain, settings):
    worker = plain.worker("-c", "1", **settings)
    plain.send("hold", "x")
    plain.until_seen("begin x")
    for number in range(3):
        plain.send("note", number)
    worker.stop(signal.SIGQUIT)
    assert plain.broker.llen("work") == 4
    is_clean(plain.broker)
    plain.release()
    plain.worker("-c", "1")
    plain.until_seen("2")
    assert plain.seen() == ["begin x", "begin x", "end x", "0", "1", "2"]


def test_children_that_are_replaced_after_each_task_give_back_nothing(plain):
    worker = plain.worker("-c", "2", "--max-tasks-per-child", "1")
    for _ in range(6):
        plain.send("note_process")
    until(lambda: len(plain.seen()) == 6, 60, "all have run")
    (owner,) = plain.broker.zrange(KEYS.owners, 0, -1)
    assert str(worker.process.pid) in owner.decode()
    said = worker.stop()
    assert len(set(plain.seen())) == len(plain.seen()) == 6
    assert "Traceback" not in said
    assert "claims_given_back" not in said
    is_clean(plain.broker)


def test_a_solo_worker_at_a_long_task_holds_nothing_back_from_another(plain):
    plain.send("hold", "x")
    for number in range(5):
        plain.send("note", number)
    plain.worker(*SOLO)
    plain.until_seen("begin x")
    plain.worker(*SOLO)
    plain.until_seen("0", "1", "2", "3", "4")
    assert "end x" not in plain.seen()
    plain.release()
    plain.until_seen("end x")


@on_debian_only
def test_a_worker_without_prefetch_takes_only_what_it_runs(plain):
    for name in ("a", "b", "c", "d"):
        plain.send("hold", name, name)
    worker = plain.worker(*PREFORK, "--disable-prefetch")
    plain.until_seen("begin a", "begin b")
    until(lambda: (plain.broker.llen("work"), len(claimed(plain.broker))) == (2, 2), 10, "two wait in the queue")
    plain.release("a")
    plain.until_seen("begin c")
    plain.release("b")
    plain.until_seen("begin d")
    plain.release("c")
    plain.release("d")
    plain.until_seen("end a", "end b", "end c", "end d")
    worker.stop()
    is_clean(plain.broker)


@on_debian_only
def test_a_worker_without_a_limit_takes_all(plain):
    for number in range(200):
        plain.send("note", number)
    worker = plain.worker("-c", "1", "--prefetch-multiplier", "0")
    plain.until_seen("199")
    worker.stop()
    assert plain.seen() == list(map(str, range(200)))
    is_clean(plain.broker)


@on_debian_only
def test_a_pool_that_grows_with_its_work_takes_more(plain):
    names = ["a", "b", "c"]
    for name in names:
        plain.send("hold", name)
    worker = plain.worker("--autoscale", "3,1", worker_prefetch_multiplier=1)
    plain.until_seen(*(f"begin {name}" for name in names))
    plain.release()
    plain.until_seen(*(f"end {name}" for name in names))
    worker.stop()
    is_clean(plain.broker)


@on_debian_only
def test_a_task_that_is_acknowledged_early_is_settled_while_it_runs(plain):
    worker = plain.worker(*THREADS, task_acks_late=False)
    plain.send("hold", "x")
    plain.until_seen("begin x")
    until(lambda: claimed(plain.broker) == {}, 10, "it is settled")
    plain.release()
    plain.until_seen("end x")
    worker.stop()


def test_what_a_task_rejects_comes_again_or_is_put_aside(plain):
    worker = plain.worker(*PREFORK)
    plain.send("reject", True)
    plain.until_seen("redelivered False", "redelivered True")
    plain.send("reject", False)
    (raw,) = until(lambda: plain.broker.lrange(PARKED_QUEUE, 0, -1), 20, "it is put aside")
    headers = json.loads(raw)["headers"]
    assert headers[envelopes.DEATH_REASON] == "rejected"
    assert headers[envelopes.DEATH_QUEUE] == "work"
    worker.stop()
    is_clean(plain.broker)


@on_debian_only
def test_the_task_of_a_killed_child_runs_again(plain):
    worker = plain.worker("-c", "1", task_reject_on_worker_lost=True)
    plain.send("die_once")
    plain.until_seen("lived")
    worker.stop()
    is_clean(plain.broker)


def test_a_message_that_no_worker_can_run_is_put_aside_whole(plain):
    plain.worker(*THREADS)
    sent = [({"task": "nobody.knows", "id": "1"}, "[[], {}, {}]"), ({}, "{}"), ({}, "{"), ({"task": "note"}, "{")]
    with plain.app.producer_pool.acquire() as producer:
        for headers, body in sent:
            said = {"content_type": "application/json", "content_encoding": "utf-8", "headers": headers}
            producer.publish(body, routing_key="work", exchange="", **said)
    plain.send("note", "next")
    plain.until_seen("next")
    until(lambda: plain.broker.llen(PARKED_QUEUE) == len(sent), 20, "all are put aside")
    parked = [json.loads(raw) for raw in reversed(plain.broker.lrange(PARKED_QUEUE, 0, -1))]
    assert [base64.b64decode(one["body"]).decode() for one in parked] == [body for _, body in sent]
    why = {envelopes.DEATH_REASON: "rejected", envelopes.DEATH_QUEUE: "work"}
    assert [one["headers"] for one in parked] == [headers | why for headers, _ in sent]


@on_debian_only
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"task": "note", "id": "\ud800"}, [["x"], {}, {}]),
        ({"task": "note", "id": "1", "shadow": ["x"]}, [["x"], {}, {}]),
        ({}, {"task": "note", "id": 1.5, "args": ["x"], "kwargs": {}}),
    ],
    ids=["id", "shadow", "id of protocol 1"],
)
def test_a_message_that_no_thread_can_begin_or_end_is_put_aside(plain, headers, body):
    worker = plain.worker(*THREADS, worker_consumer="broker.quick_consumer:QuickConsumer")
    said = {"content_type": "application/json", "content_encoding": "utf-8", "headers": headers}
    with plain.app.producer_pool.acquire() as producer:
        producer.publish(json.dumps(body), routing_key="work", exchange="", **said)
    plain.send("note", "next")
    plain.until_seen("next")
    until(lambda: claimed(plain.broker) == {}, 20, "nothing stays in hand")
    assert plain.broker.llen(PARKED_QUEUE) == 1
    assert plain.seen() == ["next"]
    worker.stop()


@pytest.mark.parametrize("stock_first", [True, False], ids=["from stock", "to stock"])
def test_a_queue_is_drained_by_the_other_kind_of_worker(plain, stock_first):
    plain.fill(300, stock=stock_first)
    worker = plain.worker(*PREFORK, stock=not stock_first)
    until(lambda: len(plain.seen()) >= 300, 60, "all have run")
    worker.stop()
    assert sorted(map(int, plain.seen())) == list(range(300))
    is_clean(plain.broker)
    assert plain.broker.hlen("unacked") == 0


@on_debian_only
def test_both_kinds_of_worker_share_a_queue_and_each_message_runs_once(plain):
    plain.worker(*THREADS, stock=True)
    plain.worker(*THREADS)
    plain.fill(150, stock=True)
    plain.fill(150, stock=False)
    until(lambda: len(plain.seen()) >= 300, 60, "all have run")
    for worker in plain.processes:
        assert "succeeded" in worker.stop()
    assert sorted(map(int, plain.seen())) == sorted([*range(150), *range(150)])
    is_clean(plain.broker)
    assert plain.broker.hlen("unacked") == 0


@on_debian_only
@pytest.mark.parametrize("already_running", [True, False])
def test_what_a_killed_stock_worker_had_in_hand_comes_back_to_ours(plain, already_running):
    options = {"priority_steps": [0, 3, 6, 9], "visibility_timeout": 1, "unacked_restore_interval": 1}
    options |= {"unacked_restore_throttle": 1}
    stock = plain.worker("-c", "1", stock=True, broker_transport_options=options)
    plain.send("hold", "x")
    plain.until_seen("begin x")
    plain.send("note", 1)
    until(lambda: plain.broker.hlen("unacked") == 2, 20, "stock has both in hand")
    if already_running:
        plain.worker(*THREADS, broker_transport_options=options)
    stock.kill()
    plain.release()
    if not already_running:
        oldest = plain.broker.zrange("unacked_index", -1, -1, withscores=True)[0][1]
        until(lambda: time.time() > oldest + 1, 20, "its time is over")
        plain.worker(*THREADS, broker_transport_options={**options, "unacked_restore_throttle": 10})
    plain.until_seen("end x", "1")
    assert plain.broker.hlen("unacked") == 0


def test_a_broker_that_is_killed_and_restarted_while_tasks_run_loses_nothing(server, tmp_path):
    own = RedisServer(server.binary, "--appendonly", "yes", "--appendfsync", "always").start()
    plain = Plain(own, tmp_path)
    try:
        worker = plain.worker(*PREFORK)
        plain.send("add", 1, 1).get(timeout=20)
        for number in range(40):
            plain.send("note", number)
        until(lambda: len(plain.seen()) > 5, 20, "some have run")
        own.kill()
        own.start()
        plain.until_seen(*map(str, range(40)), seconds=60)
        worker.stop()
        is_clean(plain.broker)
    finally:
        plain.close()
        own.stop()


def test_each_connection_of_a_worker_may_be_cut(plain):
    mine = {plain.effects.client_id(), plain.broker.client_id()}
    worker = plain.worker(*THREADS)
    kinds = set()
    for number in range(8):
        of_worker = [one for one in plain.broker.client_list() if int(one["id"]) not in mine]
        new = [one for one in of_worker if (one["cmd"], one["db"]) not in kinds]
        if not new:
            break
        kinds.add((new[0]["cmd"], new[0]["db"]))
        plain.broker.client_kill_filter(_id=new[0]["id"])
        plain.send("note", number)
        plain.until_seen(str(number))
    assert len(kinds) >= 3, kinds
    worker.stop()
    is_clean(plain.broker)


def test_what_waits_for_a_thread_when_the_connection_is_cut_runs_once(plain, monkeypatch):
    monkeypatch.setenv("PLAIN_GIVES_BACK_EARLY", "1")
    mine = {plain.effects.client_id(), plain.broker.client_id()}
    worker = plain.worker(*THREADS)
    for number in range(8):
        plain.send("hold", number)
    until(lambda: len(plain.seen()) == 2 and len(claimed(plain.broker)) == 8, what="two run and six wait")
    (owner,) = plain.broker.zrange(KEYS.owners, 0, -1)
    for one in plain.broker.client_list():
        if int(one["id"]) not in mine and one["db"] == "0":
            plain.broker.client_kill_filter(_id=one["id"])
    until(lambda: plain.broker.zrange(KEYS.owners, 0, -1) not in ([], [owner]), what="the worker begins anew")
    until(lambda: len(claimed(plain.broker)) == 8, what="it has everything in hand again")
    plain.release()
    plain.until_seen(*(f"end {number}" for number in range(8)))
    worker.stop()
    is_clean(plain.broker)
    again = [number for number in range(8) if plain.seen().count(f"begin {number}") > 1]
    assert len(again) <= 2, again  # what ran, one for each slot


def test_a_worker_starts_on_a_server_that_is_full_and_makes_room(server, tmp_path):
    store = RedisServer(bundled()).start()
    plain = Plain(server, tmp_path, store=store)
    try:
        plain.broker.flushall()
        plain.fill(50, stock=False)
        plain.broker.config_set("maxmemory", "100kb")
        with pytest.raises(OperationalError, match="maxmemory"):
            plain.send("note", "more", retry=False)
        plain.start_worker(*THREADS)
        until(lambda: len(plain.seen()) == 50, 30, "all are done")
    finally:
        plain.broker.config_set("maxmemory", "0")
        plain.close()
        store.stop()
