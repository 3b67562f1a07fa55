"""The transport's promises on Redis: what a worker has in hand is never lost, and nobody else's while it lives."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Connection, Producer, Queue
from kombu.common import Broadcast
from kombu.transport import redis as stock
from redis import Redis
from redis.exceptions import RedisError

import consuming
from broker import claim_channel, claims, envelopes, parked_messages, redis_transport, waiting_messages
from broker.away import AWAY_ERRORS, BatchCut
from broker.bulk_publish import Message, publish_messages
from broker.claims import ClaimKeys, Fenced, ReplyLost, ServerRefused
from broker.waiting_messages import message_ids
from consuming import EXCHANGE, Taker
from processors.errors import InvalidArgument
from redis_server import RedisServer, bundled, installed
from relay import Relay
from waiting import until

PREFIX = "test:"
KEYS = ClaimKeys(PREFIX)

CHILD = """
import sys, time
from kombu import Connection, Exchange, Queue
from broker import redis_transport
redis_transport.register()
options = {"global_keyprefix": "test:", "priority_steps": [0, 3, 6, 9]}
held = []
count = int(sys.argv[2])
with Connection(sys.argv[1], transport_options=options) as connection:
    queue = Queue("a", Exchange("work", type="direct"), routing_key="a", channel=connection.default_channel)
    with connection.Consumer([queue], callbacks=[lambda body, message: held.append(message)], prefetch_count=count):
        while len(held) < count:
            connection.drain_events(timeout=20)
        print("holds", flush=True)
        sys.stdin.readline()
        for message in held:
            message.ack()
        print("acknowledged", flush=True)
        try:
            while True:
                connection.drain_events(timeout=20)
        except Exception as error:
            print(type(error).__name__, flush=True)
"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(bundled, id="bundled"), pytest.param(installed, id="debian", marks=pytest.mark.services)],
)
def server(request):
    redis_transport.register()
    running = RedisServer(request.param()).start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def empty(server):
    with server.client() as client:
        client.config_set("maxmemory", "0")
        client.flushall()


@contextmanager
def connected(server, **options):
    transport_options = {"global_keyprefix": PREFIX, "priority_steps": [0, 3, 6, 9], **options}
    with Connection(server.url, transport_options=transport_options) as connection:
        yield connection


@contextmanager
def stock_connected(server):
    options = {"global_keyprefix": PREFIX, "priority_steps": [0, 3, 6, 9]}
    with Connection(server.url, transport=stock.Transport, transport_options=options) as connection:
        yield connection


def queue(name: str, connection: Connection) -> Queue:
    return Queue(name, EXCHANGE, routing_key=name, channel=connection.default_channel)


publish = partial(consuming.publish, priority=3)


def claimed(client) -> dict:
    return consuming.claimed(client, PREFIX)


def waiting(client, name: str) -> list:
    """Bodies in the order in which they will be served."""
    return [body for priority in (0, 3, 6, 9) for body in waiting_at(client, name, priority)]


def waiting_at(client, name: str, priority: int) -> list:
    step = f"\x06\x16{priority}" if priority else ""
    return [body_of(raw) for raw in reversed(client.lrange(f"{PREFIX}{name}{step}", 0, -1))]


def body_of(raw) -> object:
    return json.loads(base64.b64decode(json.loads(raw)["body"]))


def in_kombus_batch(connection: Connection) -> None:
    producer = Producer(connection, auto_declare=False)
    with producer.batch():
        for number in range(3):
            producer.publish({"number": number}, routing_key="a")


def test_a_batch_whose_channel_is_given_up_is_given_up_though_kombu_tries_again(server):
    with connected(server) as connection, server.client() as client:
        producer = Producer(connection, auto_declare=False)
        with pytest.raises(BatchCut), producer.batch():
            producer.publish(1, routing_key="a")
            connection.collect()
            producer.revive(connection.default_channel)
            producer.publish(2, routing_key="a")
        producer.publish(3, routing_key="a")
        assert waiting(client, "a") == [3]


def ready_messages(connection: Connection) -> None:
    payload = {"body": "{}", "content-type": "application/json", "content-encoding": "utf-8"}
    many = [Message("a", 0, {**payload, "headers": {}, "properties": {}}) for _ in range(3)]
    publish_messages(connection, many)


def message(number: int, *, first: bool = False) -> Message:
    payload = {"body": json.dumps(number), "content-type": "application/json", "content-encoding": "utf-8"}
    return Message("a", 0, {**payload, "headers": {}, "properties": {}}, first=first)


def test_what_goes_first_is_served_before_what_waits_and_in_its_order(server):
    with connected(server) as connection, server.client() as client:
        publish_messages(connection, [message(1), message(2)])
        publish_messages(connection, [message(3, first=True), message(5), message(4, first=True)])
        assert waiting(client, "a") == [3, 4, 1, 2, 5]


def test_a_message_in_hand_lies_in_the_claim_of_a_living_owner_until_it_is_settled(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1, 2)
        taker = Taker(connection, "a")
        assert taker.until(2) == [1, 2]
        assert waiting(client, "a") == []
        assert sorted(map(body_of, claimed(client).values())) == [1, 2]
        assert client.zcard(KEYS.owners) == 1
        taker.got[0][1].ack()
        until(lambda: list(map(body_of, claimed(client).values())) == [2], what="the settled one is gone")


def test_nothing_is_claimed_while_work_waits_unless_it_is_a_whole_claim(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(200))
        taker = Taker(connection, "a", prefetch=100)
        taker.until(100)
        taker.consumer.channel.has_work = lambda: True
        for _, one in taker.got[:63]:
            one.ack()
        for _ in range(3):
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)
        assert len(waiting(client, "a")) == 100
        taker.got[63][1].ack()
        assert taker.until(164) == list(range(164))
        taker.got[64][1].ack()
        taker.consumer.channel.has_work = lambda: False
        assert taker.until(165)[-1] == 164


def test_what_is_settled_between_the_look_for_room_and_the_wait_wakes_the_loop(server):
    with connected(server) as connection:
        publish(connection, "a", 1, 2)
        taker = Taker(connection, "a", prefetch=1)
        taker.until(1)
        channel, cycle = taker.consumer.channel, connection.transport.cycle
        channel._brpop_start()  # the loop finds no room ...
        taker.got[0][1].ack()  # ... a thread settles ...
        channel.note_room()  # ... and the loop goes to wait
        events = [(fileno, event) for fileno, event in cycle.poller.poll(5) if fileno == cycle._fileno]
        assert events
        assert taker.until(2) == [1, 2]


def test_a_connection_that_the_server_closes_while_nothing_is_asked_costs_nothing(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(200))
        taker = Taker(connection, "a", prefetch=100)
        taker.until(100)
        taker.consumer.channel.has_work = lambda: True
        taker.got[0][1].ack()
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.1)
        client.client_kill_filter(_type="normal", skipme=True)
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.2)
        taker.consumer.channel.has_work = lambda: False
        assert taker.until(101) == list(range(101))


def test_a_server_that_knows_no_script_yet_lets_the_next_worker_know_at_once_that_there_is_more(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(30))
        taker = Taker(connection, "a", prefetch=10)
        for _ in range(2):  # the second time at the claim that follows the first one's failure
            client.script_flush()
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)
        taker.until(10)
        assert client.zcard(KEYS.marker("a")) == 1


def test_all_that_waits_and_is_in_hand_is_found_though_little_is_read_at_once(server, monkeypatch):
    monkeypatch.setattr(waiting_messages, "PAGE_BYTES", 1_000)
    with connected(server) as connection:
        for number in range(90):
            publish(connection, "a", number, headers={"id": f"t{number}"}, priority=number % 3 * 3)
        Taker(connection, "a", prefetch=40).until(40)
        looks = list[int]()
        assert message_ids(connection, ["a"], lambda: looks.append(1)) == {f"t{number}" for number in range(90)}
        assert len(looks) == 90, "whoever looks at many has a lease to renew meanwhile"


def test_closing_gives_back_what_is_in_hand_in_its_order_and_ends_the_owner(server):
    with server.client() as client:
        with connected(server) as connection:
            publish(connection, "a", *range(100))
            Taker(connection, "a", prefetch=50).until(50)
        assert waiting(client, "a") == list(range(100))
        assert claimed(client) == {}
        assert client.zcard(KEYS.owners) == client.scard(KEYS.dead) == 0


def test_a_settled_message_is_not_given_back_at_the_close(server):
    with server.client() as client:
        with connected(server) as connection:
            publish(connection, "a", *range(10))
            taker = Taker(connection, "a")
            taker.until(10)
            for _, message in taker.got[::2]:
                message.ack()
        assert waiting(client, "a") == [1, 3, 5, 7, 9]


def test_what_another_thread_settles_during_the_close_is_not_given_back(server, monkeypatch):
    with server.client() as client:
        with connected(server) as connection:
            publish(connection, "a", *range(4))
            taker = Taker(connection, "a")
            taker.until(4)
            owner = connection.default_channel.owner
            retire = owner.retire

            def settled_meanwhile(wait):
                settling = threading.Thread(target=taker.got[1][1].ack)
                settling.start()
                settling.join()
                retire(wait)

            monkeypatch.setattr(owner, "retire", settled_meanwhile)
        assert waiting(client, "a") == [0, 2, 3]


def test_no_more_is_claimed_than_may_be_in_hand(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(20))
        taker = Taker(connection, "a", prefetch=3)
        taker.until(3)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.3)
        assert len(claimed(client)) == 3
        taker.got[0][1].ack()
        assert taker.until(4) == [0, 1, 2, 3]


def test_the_order_is_the_queues_as_given_and_within_one_high_normal_low(server):
    with connected(server) as connection:
        for name in ("b", "a"):
            for priority in (6, 0, 3):
                publish(connection, name, *(f"{name}{priority}.{n}" for n in range(3)), priority=priority)
        taker = Taker(connection, "b", "a")
        order = [f"{name}{priority}.{n}" for name in ("b", "a") for priority in (0, 3, 6) for n in range(3)]
        assert taker.until(18) == order


def test_what_the_order_passes_over_gets_its_turn(server, monkeypatch):
    monkeypatch.setattr(claim_channel, "AGEING_SECONDS", 0)
    with connected(server) as connection:
        publish(connection, "a", "low", priority=6)
        publish(connection, "a", *range(50), priority=0)
        taker = Taker(connection, "a", prefetch=1)
        for count in range(1, 52):
            taker.until(count)
            taker.got[-1][1].ack()
        assert taker.until(51).index("low") < 20


def test_what_was_passed_over_gets_its_turn_though_the_servers_clock_is_set_back(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "low", priority=6)
        publish(connection, "a", *range(50), priority=0)
        client.hset(KEYS.passed_over, f"{PREFIX}a\x06\x166", int(time.time()) + 3600)
        taker = Taker(connection, "a", prefetch=1)
        for count in range(1, 52):
            taker.until(count)
            taker.got[-1][1].ack()
        assert taker.until(51).index("low") < 20


def test_a_message_pushed_by_stock_celery_is_taken_and_the_other_way_round(server):
    with connected(server) as ours, stock_connected(server) as theirs:
        for priority in (0, 3, 6):
            publish(theirs, "a", f"stock {priority}", priority=priority)
        assert Taker(ours, "a").until(3) == ["stock 0", "stock 3", "stock 6"]
    with connected(server) as ours, stock_connected(server) as theirs:
        for priority in (0, 3, 6):
            publish(ours, "b", f"ours {priority}", priority=priority)
        assert Taker(theirs, "b").until(3) == ["ours 0", "ours 3", "ours 6"]


def test_a_rejected_message_goes_back_to_the_front_or_aside(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "again", "aside", "later")
        taker = Taker(connection, "a", prefetch=2)
        taker.until(2)
        taker.got[1][1].reject()
        taker.got[0][1].reject(requeue=True)
        assert taker.until(4)[2:] == ["again", "later"]
        again = taker.got[2][1]
        assert again.headers["redelivered"]
        assert again.headers[envelopes.DELIVERY_COUNT] == 1
        (parked,) = client.lrange(KEYS.parked, 0, -1)
        assert body_of(parked) == "aside"
        assert json.loads(parked)["headers"][envelopes.DEATH_REASON] == "rejected"
        assert json.loads(parked)["headers"][envelopes.DEATH_QUEUE] == "a"


def hear(taker, everybody, client):
    """Let a taker of `a` listen to a broadcast, too; its first message is one of `a`."""
    taker.consumer.add_queue(everybody)
    taker.consumer.consume()
    publish(taker.connection, "a", "first")
    taker.until(1)
    until(lambda: client.pubsub_numpat() > 0 or client.pubsub_channels(), what="the broadcast is listened to")


@pytest.mark.parametrize("refuse", ["reject", "requeue", "put_back"])
def test_a_broadcast_message_that_is_refused_harms_no_other(server, refuse):
    with connected(server) as connection, server.client() as client:
        everybody = Broadcast("everybody", channel=connection.default_channel)
        taker = Taker(connection, "a")
        hear(taker, everybody, client)
        Producer(connection.channel()).publish("to all", exchange=everybody.exchange, serializer="json")
        assert taker.until(2) == ["first", "to all"]
        owner = connection.default_channel.owner
        getattr(taker.got[1][1], refuse)()
        publish(connection, "a", "second")
        assert taker.until(3)[-1] == "second"
        taker.got[0][1].ack()
        until(lambda: len(claimed(client)) == 1, what="the owner's thread still settles")
        assert not owner.fenced


def compressed_nonsense(codec: str) -> str:
    body = base64.b64encode(b"this was never compressed").decode()
    properties = {"delivery_info": {}, "delivery_tag": "1", "body_encoding": "base64"}
    return json.dumps({"body": body, "headers": {"compression": codec}, "properties": properties})


@pytest.mark.parametrize(
    "raw",
    [
        "5",
        "{}",
        "[" * 5_000,
        '{"properties": 5}',
        '{"__type__": "decimal", "__value__": "x"}',
        '{"properties": {"body_encoding": "unheard-of"}, "body": "x"}',
        *(compressed_nonsense(codec) for codec in ("gzip", "bzip2", "lzma", "unheard-of")),
    ],
    ids=["number", "empty", "deep", "properties", "decimal", "coding", "gzip", "bzip2", "lzma", "codec"],
)
def test_a_broadcast_message_that_is_none_is_dropped_and_the_next_one_arrives(server, raw):
    with connected(server) as connection, server.client() as client:
        channel = connection.default_channel
        everybody = Broadcast("everybody", channel=channel)
        taker = Taker(connection, "a")
        hear(taker, everybody, client)
        topic = channel._get_publish_topic(everybody.exchange.name, "")
        assert client.publish(PREFIX + topic, raw) == 1
        Producer(connection.channel()).publish("to all", exchange=everybody.exchange, serializer="json")
        assert taker.until(2) == ["first", "to all"]


def test_what_a_thread_settles_while_its_worker_ends_is_not_given_back(server, monkeypatch):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "done", "not done")
        taker = Taker(connection, "a")
        taker.until(2)

        def retire(*arguments):
            taker.got[0][1].ack()
            return real(*arguments)

        real = claims.RETIRE
        monkeypatch.setattr(claims, "RETIRE", retire)
        connection.default_channel.close()
        assert waiting(client, "a") == ["not done"]


def test_what_a_listener_of_ones_own_raises_is_raised(server):
    with connected(server) as connection, server.client() as client:
        everybody = Broadcast("everybody", channel=connection.default_channel)
        taker = Taker(connection, "a")
        hear(taker, everybody, client)
        taker.consumer.callbacks = [lambda body, message: {}["no such"]]
        Producer(connection.channel()).publish("to all", exchange=everybody.exchange, serializer="json")
        with pytest.raises(KeyError, match="no such"):
            taker.until(2)


def test_a_message_that_is_rejected_for_ever_is_parked_after_its_deliveries(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "poison")
        taker = Taker(connection, "a", prefetch=1)
        for count in range(1, claims.MAX_DELIVERIES + 2):
            taker.until(count)
            taker.got[-1][1].reject(requeue=True)
        assert [body_of(raw) for raw in client.lrange(KEYS.parked, 0, -1)] == ["poison"]
        assert waiting(client, "a") == []
        assert claimed(client) == {}


@pytest.mark.parametrize(("count", "deliveries"), [("9" * 4_300, 0), (f"-{'9' * 4_300}", 1)], ids=["huge", "negative"])
def test_a_strangers_count_of_deliveries_keeps_nothing_from_being_given_back(server, count, deliveries):
    with server.client() as client:
        raw = f'{{"body": "x", "headers": {{"x-delivery-count": {count}}}, "properties": {{}}}}'
        client.hset(KEYS.claim("gone"), mapping={f"1:{PREFIX}a": raw, f"2:{PREFIX}a": "other"})
        client.sadd(KEYS.dead, "gone")
        assert claims.give_back_all(client, KEYS, "gone", "\x06\x16", lost=True).count == 2
        assert client.llen(f"{PREFIX}a") == 1 + deliveries
        assert client.llen(KEYS.parked) == 1 - deliveries
        assert not client.smembers(KEYS.dead)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"not json", "not_a_message"),
        (b"\xff\xfe", "not_a_message"),
        (b"[1]", "not_a_message"),
        (b'{"body": "x"}', "not_a_message"),
        (b'{"body": "x", "properties": 3, "headers": {}}', "not_a_message"),
        (b'{"body": "a", "properties": {"body_encoding": "base64"}, "headers": {}}', "not_a_message"),
        (b'{"properties": {"x": {"__type__": "decimal", "__value__": "x"}}, "headers": {}}', "not_a_message"),
        (b"[" * 100_000, "not_a_message"),
        (b"x" * 50_000_000, "too_large"),
    ],
    ids=["text", "bytes", "list", "bare", "properties", "encoding", "decimal", "deep", "large"],
)
def test_what_is_no_message_is_parked_whole_and_the_next_one_is_delivered(server, raw, reason):
    with connected(server) as connection, server.client() as client:
        taker = Taker(connection, "a")
        client.lpush(f"{PREFIX}a", raw)
        publish(connection, "a", "good")
        assert taker.until(1) == ["good"]
        (parked,) = client.lrange(KEYS.parked, 0, -1)
        message = json.loads(parked)
        assert message["headers"][envelopes.DEATH_REASON] == reason
        assert base64.b64decode(message["body"]) == raw
        until(lambda: len(claimed(client)) == 1, what="only the good one is in hand")


@pytest.mark.parametrize("headers", [{"compression": "unheard-of"}, {"compression": "gzip"}], ids=["unknown", "broken"])
def test_what_cannot_be_decompressed_is_parked_where_celery_acknowledges_it(server, headers):
    with connected(server) as connection, server.client() as client:
        taker = Taker(connection, "a", on_decode_error=lambda message, _: message.ack())
        raw = {"body": "AAAA", "content-type": "application/json", "content-encoding": "utf-8", "headers": headers}
        properties = {"delivery_info": {}, "body_encoding": "base64"}
        client.lpush(f"{PREFIX}a", json.dumps(raw | {"properties": properties}))
        publish(connection, "a", "good")
        assert taker.until(1) == ["good"]
        (parked,) = client.lrange(KEYS.parked, 0, -1)
        assert json.loads(parked)["headers"] == headers | {
            envelopes.DEATH_REASON: "rejected",
            envelopes.DEATH_QUEUE: "a",
        }
        assert json.loads(parked)["body"] == "AAAA"


def test_what_unpacks_to_more_than_a_message_may_have_is_parked_and_can_be_looked_at(server):
    bomb = {"body": base64.b64encode(zlib.compress(bytes(100_000_000))).decode(), "content-encoding": "binary"}
    properties = {"delivery_info": {}, "body_encoding": "base64"}
    headers = {"id": "1", "compression": "gzip"}
    raw = json.dumps(bomb | {"content-type": "application/data", "headers": headers, "properties": properties})
    with connected(server) as connection, server.client() as client:
        taker = Taker(connection, "a")
        client.lpush(f"{PREFIX}a", raw)
        publish(connection, "a", "good", compression="gzip")
        assert taker.until(1) == ["good"]
        assert [one.reason for one in parked_messages.look(connection, 10)] == ["too_large"]
        (parked,) = client.lrange(KEYS.parked, 0, -1)
        assert base64.b64decode(json.loads(parked)["body"]).decode() == raw


def test_what_is_parked_and_large_can_be_looked_at_and_stays_as_it_is(server):
    with connected(server) as connection, server.client() as client:
        parked = envelopes.parked(b"x" * 13_000_000, "a", "too_large", message=False)
        client.lpush(KEYS.parked, parked)
        for _ in range(2):
            (found,) = parked_messages.look(connection, 10)
            assert found.reason == "too_large"
            (kept,) = client.lrange(KEYS.parked, 0, -1)
            assert json.loads(kept)["body"] == json.loads(parked)["body"]


@pytest.mark.parametrize("readable", [True, False])
def test_what_is_parked_and_compressed_is_seen_and_goes_back_as_its_task(server, readable):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", {"number": 1}, headers={"id": "1", "task": "unknown"}, compression="gzip")
        (raw,) = client.lrange(f"{PREFIX}a\x06\x163", 0, -1)
        sent = json.loads(raw)
        if not readable:
            sent["headers"]["compression"] = "unheard-of"
        client.delete(f"{PREFIX}a\x06\x163")
        client.lpush(KEYS.parked, envelopes.parked(json.dumps(sent), "a", "rejected"))
        assert [one.task for one in parked_messages.look(connection, 10)] == ["unknown"]
        assert parked_messages.retry(connection) == 1
        assert parked_messages.count(connection) == 0
        (raw,) = client.lrange(f"{PREFIX}a\x06\x163", 0, -1)
        back = json.loads(raw)
        if readable:
            assert "compression" not in back["headers"]
            assert base64.b64decode(back["body"]) == b'{"number": 1}'
        else:
            assert (back["headers"]["compression"], back["body"]) == ("unheard-of", sent["body"])


def test_a_queue_with_what_cannot_be_decompressed_is_emptied_to_its_end(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "bad", headers={"id": "1"}, compression="gzip")
        (raw,) = client.lrange(f"{PREFIX}a\x06\x163", 0, -1)
        client.lset(f"{PREFIX}a\x06\x163", 0, raw.replace(b"application/x-gzip", b"unheard-of"))
        publish(connection, "a", "good")
        assert [body for _, body in waiting_messages.take_all(connection, "a")] == [None, "good"]


def test_a_message_that_no_worker_would_take_is_refused_at_the_publisher(server):
    with connected(server) as connection, pytest.raises(InvalidArgument, match="at most 16000000"):
        publish(connection, "a", "x" * 20_000_000)


def test_one_message_is_taken_without_a_consumer(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1, 2)
        message = queue("a", connection).get()
        assert message.payload == 1
        assert len(claimed(client)) == 1
        message.ack()
        assert queue("a", connection).get(no_ack=True).payload == 2
        assert queue("a", connection).get() is None
        until(lambda: claimed(client) == {}, what="it is settled")


def test_a_consumer_that_acknowledges_nothing_claims_nothing(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1, 2)
        assert Taker(connection, "a", no_ack=True).until(2) == [1, 2]
        assert claimed(client) == {}
        assert client.zcard(KEYS.owners) == 0


def test_what_arrives_for_a_cancelled_consumer_goes_back(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(10))
        taker = Taker(connection, "a")
        taker.consumer.callbacks = [lambda body, message: (taker.take(body, message), taker.consumer.cancel())]
        taker.until(1)
        until(lambda: waiting(client, "a") == list(range(1, 10)), what="the rest is back")


def test_the_rest_of_a_batch_goes_back_when_a_callback_fails(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(10))
        taker = Taker(connection, "a")

        def fail(body, message):
            raise ZeroDivisionError

        taker.consumer.callbacks = [fail]
        with pytest.raises(ZeroDivisionError):
            taker.until(1)
        assert waiting(client, "a") == list(range(1, 10))
        assert list(map(body_of, claimed(client).values())) == [0]


def begin_a_claim(taker) -> None:
    """Let a claim be under way whose answer nobody has read."""

    def under_way():
        with suppress(TimeoutError):
            taker.connection.drain_events(timeout=0.01)
        return taker.connection.default_channel.claim_under_way

    until(under_way, 20, "a claim is under way", every=0)


def test_a_cancelled_consumer_takes_nothing_that_arrives_later(server):
    with connected(server) as connection, connected(server) as publisher, server.client() as client:
        taker = Taker(connection, "a")
        begin_a_claim(taker)
        taker.consumer.cancel()
        publish(publisher, "a", 1)
        other = Taker(publisher, "a")
        other.until(1)
        assert len(claimed(client)) == 1
        assert taker.got == []


def test_what_was_claimed_for_a_consumer_that_is_cancelled_meanwhile_goes_back_in_its_order(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "elsewhere", 1, 2, 3, priority=0)
        publish(connection, "a", 0)
        taker, other = Taker(connection, "a"), Taker(connection, "b")
        taker.until(1)
        begin_a_claim(taker)
        with client.pipeline() as together:
            for _ in range(3):
                together.lmove(f"{PREFIX}elsewhere", f"{PREFIX}b", "RIGHT", "LEFT")
            together.zadd(KEYS.marker("b"), {"x": 0}).execute()
        until(lambda: len(claimed(client)) == 4, what="they are claimed")
        other.consumer.cancel()
        publish(connection, "a", 4)
        assert taker.until(2) == [0, 4]
        until(lambda: waiting(client, "b") == [1, 2, 3], 5, what="they are back")
        assert other.got == []


def test_what_there_is_no_room_for_any_more_goes_back_for_others(server):
    with connected(server) as connection, connected(server) as publisher:
        publish(publisher, "a", 1)
        taker = Taker(connection, "a", prefetch=2)
        taker.until(1)
        begin_a_claim(taker)
        taker.consumer.qos(prefetch_count=1)
        publish(publisher, "a", 2)
        other = Taker(publisher, "a")

        def others():
            for one in (connection, publisher):
                with suppress(TimeoutError):
                    one.drain_events(timeout=0.05)
            return other.got

        until(others, 20, "another consumer gets it", every=0)
        assert [body for body, _ in taker.got] == [1]


def test_what_is_not_acknowledged_stays_in_no_claim_when_its_callback_fails(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "n", 1)

        def fail(message):
            raise ZeroDivisionError

        connection.default_channel.basic_consume("n", True, fail, "n")
        connection.default_channel.basic_consume("a", False, fail, "a")
        with pytest.raises(ZeroDivisionError):
            until(lambda: connection.drain_events(timeout=5), 20)
        until(lambda: claimed(client) == {}, 20, "it is settled")


def test_messages_in_hand_are_counted_whatever_kombus_options_say(server):
    with connected(server, ack_emulation=False) as connection:
        publish(connection, "a", 1)
        assert Taker(connection, "a").until(1) == [1]


def test_thousands_of_queues_are_served(server, monkeypatch):
    monkeypatch.setattr(claim_channel, "LOOK_EVERY", 1)
    with connected(server) as connection:
        channel, got = connection.default_channel, []
        for number in range(2_500):
            channel.basic_consume(f"q{number}", False, got.append, str(number))
        publish(connection, "q2499", 1)
        until(lambda: connection.drain_events(timeout=5) or got, 20, "the last queue is served", every=0)


def test_a_publisher_connects_anew_where_the_server_closed_an_idle_connection(server, monkeypatch):
    monkeypatch.setattr(claim_channel, "FRESH_SECONDS", 0)
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1)
        client.client_kill_filter(_type="normal", skipme=True)
        publish(connection, "a", 2)
        assert waiting(client, "a") == [1, 2]


@pytest.mark.parametrize("transport", [redis_transport.Transport, stock.Transport], ids=["ours", "stock"])
@pytest.mark.parametrize("publish_many", [in_kombus_batch, ready_messages], ids=["batch", "ready"])
def test_many_messages_for_a_broker_that_went_away_raise_one_of_its_errors(server, transport, publish_many):
    own = RedisServer(server.binary).start()
    try:
        with Connection(own.url, transport=transport, transport_options={"socket_timeout": 2}) as connection:
            publish_many(connection)
            with own.client() as client:
                assert client.llen("a") == 3
            own.kill()
            with pytest.raises(AWAY_ERRORS):
                publish_many(connection)
    finally:
        own.stop()


def test_scripts_that_were_flushed_are_loaded_again(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1)
        taker = Taker(connection, "a")
        taker.until(1)
        client.script_flush()
        taker.got[0][1].ack()
        publish(connection, "a", 2)
        assert taker.until(2) == [1, 2]
        until(lambda: len(claimed(client)) == 1, what="the first is settled")


def test_large_messages_are_not_copied_once_more_to_be_sent(server):
    with connected(server) as connection, server.client() as client:
        texts = ["x" * 100_000] * 100
        connection.default_channel.push("a", 3, ["first"])
        tracemalloc.start()
        try:
            connection.default_channel.push("a", 3, texts)
            assert tracemalloc.get_traced_memory()[1] < 15_000_000
        finally:
            tracemalloc.stop()
        assert client.llen(f"{PREFIX}a\x06\x163") == 101


def test_a_full_server_refuses_new_messages_and_still_hands_out_the_old_ones(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(10))
        taker = Taker(connection, "a", prefetch=2)
        taker.until(2)
        client.config_set("maxmemory", "1mb")
        with pytest.raises(RedisError):
            publish(connection, "a", "more")
        for count in range(2, 10):
            taker.got[count - 2][1].ack()
            taker.until(count + 1)
        taker.got[-1][1].reject(requeue=True)
        until(lambda: taker.until(11), what="what was put back comes again")


def test_a_queue_of_a_full_server_can_be_looked_at_and_emptied_and_deleted(server):
    with connected(server) as connection, server.client() as client:
        channel = connection.default_channel
        publish(connection, "a", 1, 2, priority=9)
        publish(connection, "a", 3)
        client.config_set("maxmemory", "100kb")
        found = channel.queue_declare("a", passive=True)
        assert found.message_count == 3
        assert channel.queue_purge("a") == 3
        assert (waiting(client, "a"), channel.queue_purge("a")) == ([], 0)
        client.config_set("maxmemory", "0")
        publish(connection, "a", 4)
        client.config_set("maxmemory", "100kb")
        channel.queue_delete("a")
        assert waiting(client, "a") == []
        assert not client.exists(KEYS.marker("a"))
        assert client.keys(f"{PREFIX}_kombu.binding*") == []


def test_a_read_only_server_is_a_lost_connection(server):
    with connected(server) as connection, server.client() as client:
        taker = Taker(connection, "a")
        publish(connection, "a", 1)
        taker.until(1)
        client.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(ServerRefused, match=r"(?i)read.?only"):
                taker.until(2)
            assert issubclass(ServerRefused, connection.connection_errors)
        finally:
            client.replicaof("no", "one")


def test_a_key_of_another_program_by_a_queues_name_costs_no_message_and_keeps_no_queue_waiting(server, caplog):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(10))
        publish(connection, "c", "of another queue")
        client.set(f"{PREFIX}a\x06\x166", "theirs")
        client.set(f"{PREFIX}b", "theirs, too")
        taker = Taker(connection, "a", "b", "c")
        assert taker.until(11) == [*range(10), "of another queue"]
        assert caplog.text.count("queue_is_no_list") == 2
        assert connection.default_channel.queue_purge("a") == 0
        publish(connection, "c", "later")
        assert taker.until(12)[11:] == ["later"]
        assert not client.exists(KEYS.marker("b")), "nothing wakes a worker for it again and again"
        assert set(message_ids(connection, ["a", "b", "c"])) == set()
        assert [client.get(f"{PREFIX}{name}") for name in ("a\x06\x166", "b")] == [b"theirs", b"theirs, too"]


def test_messages_that_several_owners_give_back_have_tags_of_their_own(server):
    """Stock Celery keeps what it has in hand under them: of two with one tag it would lose one."""
    with connected(server) as first, connected(server) as second, server.client() as client:
        publish(first, "a", *range(8))
        for connection in (first, second):
            taker = Taker(connection, "a", prefetch=4)
            taker.until(4)
            for _, message in taker.got[:2]:
                message.put_back()
            for _, message in taker.got[2:]:
                message.reject(requeue=True)
            connection.close()
        back = client.lrange(f"{PREFIX}a\x06\x163", 0, -1)
    assert len(back) == len({json.loads(raw)["properties"]["delivery_tag"] for raw in back}) == 8


def test_a_message_of_the_greatest_length_is_delivered_again_after_its_owner_has_died(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "x")
        [raw] = client.lrange(f"{PREFIX}a\x06\x163", 0, -1)
        envelope = json.loads(raw)
        envelope["body"] = base64.b64encode(json.dumps("x" * 11_999_000).encode()).decode()
        client.lset(f"{PREFIX}a\x06\x163", 0, json.dumps(envelope))
        taker = Taker(connection, "a")
        taker.until(1)
        assert len(taker.got[0][0]) == 11_999_000
        taker.got[0][1].reject(requeue=True)
        assert len(taker.until(2)[1]) == 11_999_000
        assert client.llen(KEYS.parked) == 0


def test_what_cannot_go_back_stays_in_its_claim(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1)
        taker = Taker(connection, "a")
        taker.until(1)
        client.set(f"{PREFIX}a\x06\x163", "no list")
        with pytest.raises(ServerRefused, match="WRONGTYPE"):
            taker.got[0][1].reject(requeue=True)
        assert list(map(body_of, claimed(client).values())) == [1]
        client.delete(f"{PREFIX}a\x06\x163")


@pytest.fixture
def blocked_briefly(monkeypatch):
    monkeypatch.setattr(claims, "BLOCKED_SECONDS", 0.2)


def test_what_a_dead_owner_held_of_a_key_that_is_no_list_holds_nothing_else_back(server, blocked_briefly):
    with connected(server) as connection, server.client() as client:
        publish(connection, "b", "x")
        raw = client.lindex(f"{PREFIX}b\x06\x163", 0)
        lists = [f"{PREFIX}{name}" for name in ("fine", "broken", "fine")]
        fields = {f"{number}:{lists[number % 3]}": raw for number in range(90)}
        client.hset(KEYS.claim("the dead"), mapping=fields)
        client.sadd(KEYS.dead, "the dead")
        client.set(f"{PREFIX}broken", "no list")
        Taker(connection, "b").until(1)
        until(lambda: client.llen(f"{PREFIX}fine") == 60, 20, "the others are back")
        assert client.hlen(KEYS.claim("the dead")) == 30
        assert client.smembers(KEYS.dead) == {b"the dead"}
        client.delete(f"{PREFIX}broken")
        until(lambda: not client.smembers(KEYS.dead), 20, "the dead is forgotten")
        assert client.llen(f"{PREFIX}broken") == 30
        assert not client.exists(KEYS.claim("the dead"))


def test_what_may_not_be_parked_holds_nothing_else_back(server, blocked_briefly):
    with connected(server) as connection, server.client() as client:
        publish(connection, "b", "x")
        message = json.loads(client.lindex(f"{PREFIX}b\x06\x163", 0))
        message["headers"][envelopes.DELIVERY_COUNT] = claims.MAX_DELIVERIES
        fields = {f"1:{PREFIX}a": "{}", f"2:{PREFIX}a": json.dumps(message), f"3:{PREFIX}a": "{}"}
        client.hset(KEYS.claim("the dead"), mapping=fields)
        client.sadd(KEYS.dead, "the dead")
        client.set(KEYS.parked, "no list")
        Taker(connection, "b").until(1)
        until(lambda: client.llen(f"{PREFIX}a") == 2, 20, "the others are back")
        assert client.hkeys(KEYS.claim("the dead")) == [f"2:{PREFIX}a".encode()]
        client.delete(KEYS.parked)
        until(lambda: client.llen(KEYS.parked) == 1, 20, "it is parked")


def test_a_consumer_that_ends_gives_back_what_it_can_and_the_rest_goes_back_later(server, blocked_briefly):
    with server.client() as client:
        with connected(server) as connection:
            publish(connection, "a", *range(3))
            publish(connection, "b", *range(3))
            Taker(connection, "a", "b").until(6)
            client.set(f"{PREFIX}b\x06\x163", "no list")
        assert waiting(client, "a") == [0, 1, 2]
        assert len(claimed(client)) == 3
        client.delete(f"{PREFIX}b\x06\x163")
        with connected(server) as connection:
            publish(connection, "c", "x")
            Taker(connection, "c").until(1)
            until(lambda: waiting(client, "b") == [0, 1, 2], 20, "the rest is back")


def test_a_heart_beats_though_what_was_not_delivered_cannot_go_back(server, blocked_briefly):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(3))
        publish(connection, "b", *range(3))
        taker = Taker(connection, "a", "b")

        def run_here(body, message):
            client.set(f"{PREFIX}a\x06\x163", "no list")
            until(lambda: waiting(client, "b") == [0, 1, 2], 20, "what can go back is back")
            (owner, beaten) = client.zrange(KEYS.owners, 0, -1, withscores=True)[0]
            until(lambda: client.zscore(KEYS.owners, owner) != beaten, 20, "it beats")
            client.delete(f"{PREFIX}a\x06\x163")
            until(lambda: waiting(client, "a") == [1, 2], 20, "the rest is back")
            taker.take(body, message)

        taker.consumer.callbacks = [run_here]
        taker.until(1)


@pytest.mark.parametrize(("size", "most"), [(600, 2), (10, 16)], ids=["large", "small"])
def test_what_is_given_back_at_once_is_few_messages_and_few_bytes(server, monkeypatch, size, most):
    monkeypatch.setattr(claims, "MOVE_BYTES", 1000)
    trips = []

    def move_back(client, keys, owner, parcels, *arguments, **options):
        trips.append(len(parcels))
        return moved_back(client, keys, owner, parcels, *arguments, **options)

    moved_back = claims.move_back
    monkeypatch.setattr(claims, "move_back", move_back)
    with server.client() as client:
        texts = [str(number).rjust(size) for number in range(40)]
        client.hset(KEYS.claim("the dead"), mapping={f"{number}:{PREFIX}a": text for number, text in enumerate(texts)})
        client.sadd(KEYS.dead, "the dead")
        claims.give_back_all(client, KEYS, "the dead", "\x06\x16", lost=True)
        assert [text.decode() for text in reversed(client.lrange(f"{PREFIX}a", 0, -1))] == texts
        assert set(trips[:-1]) == {most}
        assert sum(trips) == 40
        assert not client.smembers(KEYS.dead)


def test_what_is_claimed_at_once_ends_with_the_message_that_makes_it_large(server, monkeypatch):
    monkeypatch.setattr(claim_channel, "BATCH_BYTES", 3_000)
    with connected(server) as connection:
        publish(connection, "a", *("x" * 1_000 for _ in range(10)))
        taker = Taker(connection, "a")
        taker.until(1)
        assert len(taker.got) == 2  # in base64, and with what is around it, each has over 1 500 bytes


@pytest.mark.parametrize("right", ["hset", "rpush", "lindex", "lrem"])
def test_a_user_without_a_right_loses_nothing(server, right):
    with server.client() as client, connected(server) as connection:
        publish(connection, "a", *range(10))
        client.acl_setuser(
            "short", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", f"-{right}"]
        )
        options = {"global_keyprefix": PREFIX, "priority_steps": [0, 3, 6, 9]}
        url = server.url.replace("redis://", "redis://short:any@")
        try:
            with suppress(RedisError), Connection(url, transport_options=options) as short:
                taker = Taker(short, "a", prefetch=3)
                taker.until(3)
                taker.got[0][1].reject(requeue=True)
        finally:
            client.acl_deluser("short")
        there = [*waiting(client, "a"), *map(body_of, claimed(client).values())]
        assert sorted(there) == list(range(10))


@pytest.mark.parametrize("right", ["hset", "hdel", "lrem", "zadd"])
def test_an_owner_who_may_not_be_announced_leaves_no_key(server, right):
    with server.client() as client:
        client.acl_setuser("short", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{right}"])
        try:
            url = server.url.replace("redis://", "redis://short:any@")
            with Redis.from_url(url) as short, pytest.raises(ServerRefused):
                claims.announce(short, KEYS, "refused")
        finally:
            client.acl_deluser("short")
        assert not client.exists(KEYS.claim("refused"))
        assert client.zscore(KEYS.owners, "refused") is None


@pytest.fixture
def relay(server):
    running = Relay(server.port)
    yield running
    running.close()


def lose_the_next_claim(taker, relay, server) -> None:
    """Let a claim take message 1, and its answer get lost."""
    relay.lose_answer_to = claims.CLAIM.digest.encode()

    def lost():
        with suppress(TimeoutError):
            taker.connection.drain_events(timeout=0.1)
        return relay.loses

    until(lost, 20, "a claim is under way", every=0)
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", 1)
        until(lambda: claimed(client), 20, "it is claimed")


def test_what_was_claimed_by_a_lost_answer_goes_back_with_the_connection(server, relay):
    with server.client() as client:
        with connected(relay) as connection:
            taker = Taker(connection, "a")
            lose_the_next_claim(taker, relay, server)
            relay.cut()
            with pytest.raises(connection.connection_errors):
                taker.until(1)
            with pytest.raises(ReplyLost):
                taker.until(1)
        assert waiting(client, "a") == [1]
        assert claimed(client) == {}


def test_an_overdue_answer_is_a_lost_connection(server, relay):
    with server.client() as client:
        with connected(relay, health_check_interval=1) as connection:
            taker = Taker(connection, "a")
            lose_the_next_claim(taker, relay, server)
            with pytest.raises(ReplyLost):
                taker.until(1)
            assert issubclass(ReplyLost, connection.connection_errors)
        assert waiting(client, "a") == [1]


def test_what_was_settled_by_a_claim_whose_answer_was_lost_is_not_given_back(server, relay):
    with server.client() as client:
        with connected(relay) as connection, connected(server) as publisher:
            publish(publisher, "a", *range(30))
            taker = Taker(connection, "a", prefetch=10)
            taker.until(10)
            for _, message in taker.got:
                message.ack()
            relay.lose_answer_to = claims.CLAIM.digest.encode()
            connection.default_channel.connection.cycle.on_poll_start()
            until(lambda: waiting(client, "a") == list(range(20, 30)), 20, "the next ones are claimed")
            relay.cut()
            with pytest.raises(connection.connection_errors):
                taker.until(11)
        assert waiting(client, "a") == list(range(10, 30))


def test_one_message_is_claimed_once_though_redis_py_repeats_what_timed_out(server, relay):
    with server.client() as client:
        options = {"retry_on_timeout": True, "socket_timeout": 1}
        with connected(relay, **options) as connection, connected(server) as publisher:
            publish(publisher, "a", 1, 2, 3)
            queue("a", connection).get().ack()
            relay.lose_answer_to = claims.CLAIM.digest.encode()
            with pytest.raises(connection.connection_errors):
                queue("a", connection).get()
        assert waiting(client, "a") == [2, 3]


def test_another_server_in_its_place_makes_the_owner_begin_anew(server):
    with connected(server) as connection, server.client() as client:
        taker = Taker(connection, "a")
        publish(connection, "a", 1)
        taker.until(1)
        client.flushall()
        with pytest.raises(Fenced):
            taker.until(2)
    with connected(server) as connection:
        publish(connection, "a", 2)
        assert Taker(connection, "a").until(1) == [2]


class Child:
    """A consumer in a process of its own."""

    def __init__(self, server, prefetch: int) -> None:
        command = [sys.executable, "-c", CHILD, server.url, str(prefetch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child(server):
    started = []

    def start(prefetch: int) -> Child:
        started.append(Child(server, prefetch))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_what_a_killed_worker_had_in_hand_is_back_in_order_at_the_front(server, child):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(100))
        victim = child(70)
        assert victim.says() == "holds"
        other = Taker(connection, "b")
        publish(connection, "b", "x")
        other.until(1)
        victim.end()
        until(lambda: len(waiting(client, "a")) == 100, 20, "the claims are given back")
        assert waiting(client, "a") == list(range(100))
        first = json.loads(client.lindex(f"{PREFIX}a\x06\x163", -1))
        assert first["headers"]["redelivered"]
        assert first["headers"][envelopes.DELIVERY_COUNT] == 1
        assert first["properties"]["delivery_info"]["redelivered"]
        assert client.scard(KEYS.dead) == 0
        assert client.zcard(KEYS.owners) == 1


def test_a_worker_that_was_frozen_until_it_was_declared_dead_changes_nothing(server, child):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(5))
        frozen = child(5)
        assert frozen.says() == "holds"
        other = Taker(connection, "b")
        publish(connection, "b", "x")
        other.until(1)
        frozen.signal(signal.SIGSTOP)
        until(lambda: len(waiting(client, "a")) == 5, 20, "the claims are given back")
        mine = Taker(connection, "a")
        mine.until(5)
        frozen.signal(signal.SIGCONT)
        frozen.process.stdin.write("\n")
        frozen.process.stdin.flush()
        assert frozen.says() == "acknowledged"
        assert frozen.says() == "Fenced"
        assert sorted(map(str, map(body_of, claimed(client).values()))) == ["0", "1", "2", "3", "4", "x"]


def test_nobody_is_declared_dead_for_a_pause_of_the_server(server, monkeypatch):
    monkeypatch.setattr(claims, "DEAD_SECONDS", 2.0)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.4)
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.2)
    with connected(server) as first, connected(server) as second, server.client() as client:
        takers = [Taker(first, "a"), Taker(second, "b")]
        for taker, name in zip(takers, ("a", "b"), strict=True):
            publish(first, name, name)
            taker.until(1)
        owners = set(client.zrange(KEYS.owners, 0, -1))
        client.client_pause(3000)
        seen = client.get(KEYS.looked)
        until(lambda: client.get(KEYS.looked) != seen, what="they beat again")
        until(lambda: not client.exists(KEYS.grace), what="the grace is over")
        assert set(client.zrange(KEYS.owners, 0, -1)) == owners


def set_clock(client, seconds: int) -> None:
    """Do to what the server has noted what setting its clock does: it lies further back, or in the future."""
    owners = client.zrange(KEYS.owners, 0, -1)
    with client.pipeline() as pipe:
        for owner in owners:
            pipe.zincrby(KEYS.owners, -seconds * 1000, owner)
        pipe.decrby(KEYS.looked, seconds * 1000)
        pipe.execute()


def test_nobody_is_declared_dead_when_the_servers_clock_is_set_forward(server):
    with connected(server) as first, connected(server) as second, server.client() as client:
        takers = [Taker(first, "a"), Taker(second, "b")]
        for taker, name in zip(takers, ("a", "b"), strict=True):
            publish(first, name, name)
            taker.until(1)
        until(lambda: client.exists(KEYS.looked), what="one has looked")
        owners = set(client.zrange(KEYS.owners, 0, -1))
        set_clock(client, 3600)
        first_beats = dict(client.zrange(KEYS.owners, 0, -1, withscores=True))
        later = {owner: score + 3_601_000 for owner, score in first_beats.items()}
        until(
            lambda: all((client.zscore(KEYS.owners, owner) or later[owner]) >= later[owner] for owner in owners),
            what="all beat by the new time, or are gone",
        )
        assert set(client.zrange(KEYS.owners, 0, -1)) == owners


def test_a_beat_that_comes_late_gives_no_dead_worker_more_time(server, monkeypatch):
    asked, late = claims.BEAT, 60_000

    def delayed(client, keys, arguments):
        *rest, least, most, again = arguments
        return asked(client, keys, arguments if again else [*rest, least - late, most - late, again])

    monkeypatch.setattr(claims, "BEAT", delayed)
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "x")
        Taker(connection, "a").until(1)
        (owner,) = client.zrange(KEYS.owners, 0, -1)
        beat = client.zscore(KEYS.owners, owner)
        client.zadd(KEYS.owners, {"another": beat})
        until(lambda: (client.zscore(KEYS.owners, owner) or 0) > beat, 20, "it has beaten")
        assert client.zscore(KEYS.owners, "another") == beat


def test_a_dead_worker_is_noticed_though_the_servers_clock_is_set_back(server, child):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "held")
        victim = child(1)
        assert victim.says() == "holds"
        other = Taker(connection, "b")
        publish(connection, "b", "x")
        other.until(1)
        victim.end()
        set_clock(client, -3600)
        until(lambda: waiting(client, "a") == ["held"], 25, "what it held is back")


def test_a_heart_beats_while_the_claims_of_the_dead_are_given_back(server, monkeypatch):
    monkeypatch.setattr(claims, "DEAD_SECONDS", 1.0)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(claims, "MOVE_AT_ONCE", 1)
    with connected(server) as connection, server.client() as client:
        publish(connection, "b", "x")
        raw = client.lindex(f"{PREFIX}b\x06\x163", 0)
        fields = {f"{number}:{PREFIX}a": raw for number in range(4_000)}
        client.hset(KEYS.claim("the dead"), mapping=fields)
        client.sadd(KEYS.dead, "the dead")
        taker = Taker(connection, "b")
        taker.until(1)
        (owner,) = client.zrange(KEYS.owners, 0, -1)
        beats = set()

        def given_back():
            beats.add(client.zscore(KEYS.owners, owner))
            return not client.exists(KEYS.claim("the dead"))

        until(given_back, 60, "all are given back")
        assert client.llen(f"{PREFIX}a") == len(fields)
        assert len(beats) > 2
        until(lambda: not client.smembers(KEYS.dead), 20, "the dead is forgotten")


def test_a_heart_goes_on_after_a_fault_that_nobody_foresaw(server, monkeypatch):
    monkeypatch.setattr(claims, "DEAD_SECONDS", 1.0)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.1)
    faults = [IndexError("nobody foresaw it")] * 3
    move_back = claims.move_back

    def fails_at_first(*given, **named):
        if faults:
            raise faults.pop()
        return move_back(*given, **named)

    monkeypatch.setattr(claims, "move_back", fails_at_first)
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", "x")
        taker = Taker(connection, "a")
        taker.until(1)
        taker.got[0][1].put_back()
        until(lambda: not faults, 20, "the fault has come")
        (owner,) = client.zrange(KEYS.owners, 0, -1)
        beat = client.zscore(KEYS.owners, owner)
        until(lambda: (client.zscore(KEYS.owners, owner) or 0) > beat, 20, "the heart beats")


def test_a_fork_of_a_worker_gives_back_nothing_of_its_parents(server):
    with connected(server) as connection, server.client() as client:
        publish(connection, "a", *range(3))
        taker = Taker(connection, "a")
        taker.until(3)
        pid = os.fork()
        if pid == 0:
            taker.connection.default_channel.leave()
            os._exit(0)
        os.waitpid(pid, 0)
        assert len(claimed(client)) == 3
        assert client.zcard(KEYS.owners) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_whatever_consumers_do_each_message_is_settled_once_or_still_there(server, seed):
    chance = Random(seed)
    with server.client() as client:
        client.flushall()
        with connected(server) as connection:
            for number in range(60):
                publish(connection, "a", number, priority=chance.choice([0, 3, 6]))
        settled = []
        for _ in range(chance.randint(1, 4)):
            with connected(server) as connection:
                taker = Taker(connection, "a", prefetch=chance.randint(1, 30))
                for _ in range(chance.randint(0, 20)):
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.01)
                    if taker.got and chance.random() < 0.7:
                        body, message = taker.got.pop(chance.randrange(len(taker.got)))
                        if chance.random() < 0.8:
                            message.ack()
                            settled.append(body)
                        else:
                            message.reject(requeue=True)
        assert sorted([*settled, *waiting(client, "a")]) == list(range(60)), f"seed {seed}"
        assert claimed(client) == {}


def test_acknowledging_from_another_thread_makes_room_at_once(server):
    with connected(server) as connection:
        publish(connection, "a", *range(200))
        taker = Taker(connection, "a", prefetch=1)
        taker.consumer.callbacks = [
            lambda body, message: (taker.take(body, message), threading.Thread(target=message.ack).start())
        ]
        assert taker.until(200) == list(range(200))


def test_rejecting_from_another_thread_makes_room_at_once(server):
    with connected(server) as connection:
        publish(connection, "a", 1, 2)
        taker = Taker(connection, "a", prefetch=1)
        taker.until(1)
        woken = []
        connection.default_channel.connection.cycle.wake = lambda: woken.append(True)
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.01)
        rejecting = threading.Thread(target=taker.got[0][1].reject)
        rejecting.start()
        rejecting.join()
        assert woken
